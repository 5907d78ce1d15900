internal import Basics
internal import HTTPTestServer
internal import Kubernetes

extension FakeCluster {
    /// What becomes of a request.
    private enum Verdict {
        /// It is done and answered with status and body.
        case answer(Int, String)
        /// The connection is closed, whether it was done or not.
        case close
        /// It is answered for as long as nobody cuts it.
        case watch
        case follow
    }

    /// Answers a request.
    static func answer(
        _ request: ScriptedServer.Request, _ state: Monitor<ClusterState>
    ) -> [ScriptedServer.Step] {
        let query = ClusterState.Query(request.target)
        let (verdict, ahead, warnings) = state.signal {
            (decide(request, query, &$0), $0.ahead, $0.warnings(request, query))
        }
        switch verdict {
        case .close: return [.close]
        case .watch: return [.take { watch(query, state, $0) }]
        case .follow: return [.take { follow(query.path, state, $0) }]
        case .answer(let code, let body):
            let now = SystemWallClock().now().seconds + ahead
            let told = warnings.map { ("Warning", $0) }
            return [.answer(code, told + [("Content-Type", "application/json"), ("Date", httpDate(now))], body)]
        }
    }

    private static func decide(
        _ request: ScriptedServer.Request, _ query: ClusterState.Query, _ state: inout ClusterState
    ) -> Verdict {
        let asked = Request(
            method: request.method, path: query.path + (query.isStatus ? "/status" : ""), isTrial: query.isTrial)
        state.requests.append(asked)
        if state.isDead { return .close }
        switch state.refuses(asked) {
        case nil: break
        case closed: return .close
        case lost:
            _ = perform(request, query, &state)
            return .close
        case let code?:
            let (code, body) = ClusterState.status(code, "Refused", state.refusal)
            return .answer(code, body)
        }
        if request.method == "GET" {
            if state.streamsWatches, query.isWatch, !state.isForbidden("GET", query) { return .watch }
            if query.path.hasSuffix("/log"), query.terms["follow"] == "true" { return .follow }
        } else if let left = state.writesLeft {
            if left == 0 {
                state.isDead = true
                if state.doesLastWrite { _ = perform(request, query, &state) }
                return .close
            }
            state.writesLeft = left - 1
        }
        let (code, body) = perform(request, query, &state)
        return .answer(code, body)
    }

    private static func perform(
        _ request: ScriptedServer.Request, _ query: ClusterState.Query, _ state: inout ClusterState
    ) -> (Int, String) {
        let answer = state.act(request, query)
        if request.method != "GET" {
            state.writes += 1
            state.controllers(&state)
        }
        return answer
    }

    /// As RFC 9110, section 5.6.7, has it.
    private static func httpDate(_ seconds: Int64) -> String {
        let time = CalendarTime(Timestamp(seconds: seconds))
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let day =
            "\(days[Int((seconds / 86_400) % 7)]), \(two(time.day)) \(months[time.month - 1]) \(time.year)"
        return "\(day) \(two(time.hour)):\(two(time.minute)):\(two(time.second)) GMT"
    }

    // MARK: Streams

    private static let head = Array("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n".utf8)

    /// Tells of changes until streams are cut.
    private static func watch(
        _ query: ClusterState.Query, _ state: Monitor<ClusterState>,
        _ connection: ScriptedServer.Connection
    ) {
        connection.send(head)
        var seen = Int64(query.terms["resourceVersion"] ?? "") ?? 0
        let cuts = state.withLock { $0.cuts }
        while true {
            let (from, told) = (seen, cuts)
            let change = state.wait { state -> (change: ClusterState.Change, isMeant: Bool)?? in
                if state.isStopping || state.cuts != told { return .some(nil) }
                return state.changes.first { $0.version > from }.map {
                    .some(($0, state.isListed($0.object, at: query.path) && query.means($0.object)))
                }
            }
            guard let (change, isMeant) = change else { return }
            seen = change.version
            guard isMeant else { continue }
            let event: JSONValue = ["type": .string(change.type), "object": change.object.json]
            connection.send(Array("\(ClusterState.text(event))\n".utf8))
        }
    }

    /// Tells what a pod says from its last line on, until streams are cut.
    private static func follow(
        _ path: String, _ state: Monitor<ClusterState>, _ connection: ScriptedServer.Connection
    ) {
        let pod = path.split(separator: "/").dropLast().last.map(String.init) ?? ""
        connection.send(head)
        let (start, cuts) = state.signal { state in
            state.followers += 1
            return (max(0, (state.logs[pod]?.count ?? 0) - 1), state.cuts)
        }
        var next = start
        while true {
            let position = next
            let line = state.wait { state -> String?? in
                if state.isStopping || state.cuts != cuts { return .some(nil) }
                guard let lines = state.logs[pod], position < lines.count else { return nil }
                return .some(lines[position])
            }
            guard let line else { return }
            next += 1
            connection.send(Array("\(line)\n".utf8))
        }
    }
}
