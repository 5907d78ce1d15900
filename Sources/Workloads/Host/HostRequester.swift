internal import Basics
internal import HTTPTransport

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Asks a process of this machine for a checkpoint.
struct HostRequester: Sendable {
    let workload: HostWorkload
    let environment: [String: String]

    /// Asks it, and answers what it said. Throws `.checkpoint` when it cannot be asked, says no, or does not answer within
    /// `seconds`.
    func ask(
        _ request: QuiescePolicy.Request, _ ranks: QuiescePolicy.Ranks, seconds: Double
    ) async throws -> [(pod: String, text: String)] {
        switch request {
        case .command(let words): return [("\(workload.root)", try await run(words, seconds))]
        case .signal(let name): return try signal(name, ranks)
        case .file(let path):
            do throws(HostFile.Failure) { try HostFile.touch(path) } catch {
                throw QuiesceError(.checkpoint, "no checkpoint of \(workload.label): cannot make \(path): \(error)")
            }
            return [("\(workload.root)", "\(path) is there")]
        case .http(let method, let port, let path):
            return [("\(workload.root)", try await call(method, port, path, seconds))]
        }
    }

    private func run(_ words: [String], _ seconds: Double) async throws -> String {
        var environment = environment
        environment["BECALM_PID"] = "\(workload.root.pid)"
        let variables = environment
        do {
            _ = try await BlockingBridge.offload(name: "becalm-command") {
                Result {
                    try ChildProcess.output(
                        of: words[0], Array(words.dropFirst()), environment: variables,
                        seconds: Int(seconds.rounded(.up)), maximumBytes: 1 << 20)
                }
            }
            return "exit 0"
        } catch {
            throw QuiesceError(
                .checkpoint, "\(workload.label) was asked for a checkpoint by `\(words[0])`, and \(error)", cause: error
            )
        }
    }

    private func call(_ method: String, _ port: Int, _ path: String, _ seconds: Double) async throws -> String {
        guard let method = HTTPMethod(rawValue: method) else {
            throw QuiesceError(.checkpoint, "\(workload.label): there is no HTTP method \(method)")
        }
        var request = HTTPRequest(method, "http://127.0.0.1:\(port)\(path)")
        request.totalMilliseconds = Int(min(seconds, 86_400) * 1000)
        request.stallSeconds = Int(min(seconds, 86_400).rounded(.up))
        request.bypassesProxy = true
        let shown = "\(method.rawValue) 127.0.0.1:\(port)\(path.prefix { $0 != "?" })"
        do {
            let (response, body) = try await CurlTransport().perform(request, maximumBytes: 64 << 10)
            guard response.isSuccess else {
                let said = String(decoding: (response.failureBody + body).prefix(200), as: UTF8.self)
                    .filter { !$0.isNewline }
                throw QuiesceError(
                    .checkpoint,
                    "\(workload.label) was asked for a checkpoint (\(shown)) and answered \(response.status): \(said)")
            }
            return "\(response.status)"
        } catch let error as HTTPTransportError {
            throw QuiesceError(
                .checkpoint, "no checkpoint of \(workload.label): \(shown) failed: \(error)", cause: error)
        }
    }

    // MARK: Signals

    private static let numbers: [String: Int32] = [
        "SIGHUP": SIGHUP, "SIGINT": SIGINT, "SIGQUIT": SIGQUIT, "SIGTERM": SIGTERM, "SIGUSR1": SIGUSR1,
        "SIGUSR2": SIGUSR2, "SIGCONT": SIGCONT, "SIGWINCH": SIGWINCH,
    ]

    /// Sends a signal to the process that was named, or to each of them all that has a handler for it. One without a handler
    /// would be ended by most signals, so it is not sent any.
    private func signal(_ name: String, _ ranks: QuiescePolicy.Ranks) throws -> [(pod: String, text: String)] {
        guard let number = Self.numbers[name] else {
            throw QuiesceError(.checkpoint, "\(workload.label): there is no signal \(name)")
        }
        let members =
            ranks == .first ? [workload.root] : workload.members(try ProcessTable(), known: []).map(\.identity)
        let bit: UInt64 = 1 << UInt64(number - 1)
        let asked = members.filter { (ProcessTable.signals($0.pid)?.caught ?? 0) & bit != 0 }
        var answers: [(pod: String, text: String)] = []
        for identity in asked {
            guard let handle = try ProcessHandle(identity), try handle.send(number) else { continue }
            answers.append(("\(identity)", "sent \(name)"))
        }
        guard !answers.isEmpty else {
            let who = ranks == .first ? "it has" : "none of its processes has"
            throw QuiesceError(
                .checkpoint,
                "\(workload.label) cannot be asked for a checkpoint by \(name): \(who) no handler for it\(Self.fate(number)); install one, or ask in another way"
            )
        }
        return answers
    }

    /// What becomes of a process that has no handler for a signal.
    private static func fate(_ number: Int32) -> String {
        number == SIGCONT || number == SIGWINCH ? "" : ", so the signal would end it"
    }
}
