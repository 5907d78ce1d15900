internal import HTTPTransport
internal import Synchronization

extension KubernetesClient {
    /// Runs a command in a container, hands its output to `receive` as it comes and answers its exit code. The command may
    /// have run when this throws with `isAmbiguous`; nothing is run twice.
    ///
    /// Throws `.timedOut` when the time is over, `.failed` when the container cannot run it (no such program: images
    /// without a shell have no `sh`), and what `receive` throws.
    package func execute(
        _ exec: ExecRequest, receive: @escaping @Sendable (ExecRequest.Output, [UInt8]) async throws -> Void
    ) async throws -> Int {
        guard !exec.command.isEmpty else {
            throw KubernetesError(.invalid, "cannot \(exec.label): there is no command")
        }
        let late = KubernetesError(
            .timedOut, "cannot \(exec.label): it took longer than \(exec.seconds) s; it may still run in the container",
            isAmbiguous: true)
        return try await Deadline.run(seconds: exec.seconds, or: late) {
            let socket = try await self.openExec(exec)
            return try await self.converse(socket, exec, receive)
        }
    }

    /// Runs a command in a container and answers what it came to; of each kind of output, `maximumBytes` are kept.
    package func execute(_ exec: ExecRequest, maximumBytes: Int = 1 << 20) async throws -> ExecResult {
        let gathered = Mutex(ExecResult(exitCode: 0, output: [], errorOutput: [], isTruncated: false))
        let code = try await execute(exec) { output, bytes in
            gathered.withLock { result in
                let count = output == .standardOutput ? result.output.count : result.errorOutput.count
                let kept = bytes.prefix(maximumBytes - count)
                if output == .standardOutput { result.output += kept } else { result.errorOutput += kept }
                result.isTruncated = result.isTruncated || kept.count < bytes.count
            }
        }
        return gathered.withLock { result in
            result.exitCode = code
            return result
        }
    }

    private func call(_ exec: ExecRequest) -> APICall {
        var call = APICall("get", .get, .pods, namespace: exec.namespace, name: exec.pod)
        call.subresource = "exec"
        call.accept = "*/*"
        call.add("container", exec.container)
        for word in exec.command { call.query.append(("command", word)) }
        if exec.input != nil { call.add("stdin", "true") }
        call.add("stdout", "true")
        call.add("stderr", "true")
        return call
    }

    /// Connects. Before the upgrade nothing has run, so this waits for a server that is gone.
    private func openExec(_ exec: ExecRequest) async throws -> WebSocket {
        let call = call(exec)
        if let fault = call.fault { throw KubernetesError(.invalid, "cannot \(exec.label): \(fault)") }
        var protocols = ExecChannels.protocols
        var hasRenewed = false
        var attempt = 0
        while true {
            attempt += 1
            let material = try await credentials.material()
            var error: KubernetesError
            var mayRetry = false
            do throws(HTTPTransportError) {
                let opening = try await WebSocket.open(
                    request(call, material), protocols: protocols, configuration: material.transport)
                switch opening {
                case .open(let socket): return socket
                case .refused(let response):
                    let isStatus = (try? JSONValue(parsing: response.failureBody))?["kind"] == "Status"
                    // Servers before 1.30 refuse a protocol that they do not know without a `Status`.
                    if !isStatus, response.status == 403 || response.status == 400, protocols.count > 1 {
                        protocols.removeFirst()
                        continue
                    }
                    error = StatusMapping.error(call, response, configuration.source)
                    error.isAmbiguous = false
                    mayRetry = error.status == 429 || error.status == 502 || error.status == 503
                }
            } catch let failure {
                error = StatusMapping.error(call, failure, configuration.source)
                mayRetry = failure.code == .unresolved || failure.code == .unreachable
            }
            if error.code == .unauthorized || error.code == .untrusted, !hasRenewed, credentials.invalidate(material) {
                hasRenewed = true
                continue
            }
            guard mayRetry else { throw error }
            // The deadline of the whole ends this.
            let delay = patience.delay(
                afterAttempt: attempt, chance: .random(in: 0.1...1), retryAfter: error.retryAfterSeconds)
            try await Task.sleep(for: .seconds(delay))
        }
    }

    /// Sends the input and pings, and takes what comes until the command has ended.
    private func converse(
        _ socket: WebSocket, _ exec: ExecRequest,
        _ receive: @escaping @Sendable (ExecRequest.Output, [UInt8]) async throws -> Void
    ) async throws -> Int {
        try await withThrowingTaskGroup(of: Int?.self) { group in
            defer {
                group.cancelAll()
                socket.disconnect()
            }
            group.addTask { try await self.listen(socket, exec, receive) }
            group.addTask {
                let isClosable = socket.chosenProtocol == ExecChannels.v5
                let messages = exec.input.map { ExecChannels.messages(for: $0, closing: isClosable) } ?? []
                do throws(HTTPTransportError) {
                    for message in messages { try await socket.send(message) }
                } catch {
                    // A command may end before it has read everything; whether it did, the listener finds out.
                }
                return nil
            }
            group.addTask {
                while true {
                    try await Task.sleep(for: .seconds(20))
                    do throws(HTTPTransportError) {
                        try await socket.ping()
                    } catch {
                        return nil  // The listener finds out why.
                    }
                }
            }
            while let ended = try await group.next() {
                if let code = ended { return code }
            }
            throw KubernetesError(.failed, "cannot \(exec.label): nobody listens")
        }
    }

    private func listen(
        _ socket: WebSocket, _ exec: ExecRequest,
        _ receive: @Sendable (ExecRequest.Output, [UInt8]) async throws -> Void
    ) async throws -> Int {
        while true {
            let message: WebSocket.Message
            do throws(HTTPTransportError) {
                message = try await socket.receive()
            } catch {
                var failure = StatusMapping.error(call(exec), error, configuration.source)
                failure.isAmbiguous = true
                throw failure
            }
            switch message {
            case .binary(let bytes), .text(let bytes):
                switch ExecChannels.parse(bytes) {
                case .nothing: break
                case .output(let output, let bytes): try await receive(output, Array(bytes))
                case .status(let text): return try exitCode(text, exec)
                }
            case .close(let code, let reason):
                let words = reason.isEmpty ? "status \(code)" : StatusMapping.line(reason)
                throw KubernetesError(
                    .unreachable,
                    "cannot \(exec.label): the connection closed (\(words)) before the command ended; it may still run",
                    isAmbiguous: true)
            }
        }
    }

    private func exitCode(_ text: [UInt8], _ exec: ExecRequest) throws(KubernetesError) -> Int {
        guard let status = try? JSONValue(parsing: text) else {
            throw KubernetesError(
                .malformed, "cannot \(exec.label): the server's last word is no JSON", isAmbiguous: true)
        }
        if let code = ExecChannels.exitCode(status) { return code }
        let said = StatusMapping.line(status["message"]?.string ?? "the server does not say why")
        let isMissing = ExecResult.tellsOfMissingProgram(said)
        let remedy = isMissing ? "; the container has no such program: name one that its image has" : ""
        throw KubernetesError(
            .failed, "cannot \(exec.label): \(said)\(remedy)",
            status: status["code"]?.int64.flatMap { Int(exactly: $0) },
            reason: status["reason"]?.string ?? "", isAmbiguous: !isMissing)
    }
}
