internal import Basics
internal import GRPCCore
internal import GRPCNIOTransportHTTP2Posix
internal import Logging
internal import NIOCore
internal import PluginHost
internal import Velero

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A plugin process while it serves: from its socket to its end.
struct PluginServer: Sendable {
    let launch: LaunchEnvironment
    /// Our own absolute path.
    let command: String
    let registry: PluginRegistry
    let output: PluginOutput
    let logger: Logger

    /// Longest request: an item of 64 MiB with its backup. Go's plugins take 4 MiB, which large objects exceed.
    private static let mostRequestBytes = 160 << 20
    /// Bytes that a client may send ahead in one stream: enough for a part of an upload while another is on its way.
    private static let windowBytes = 1 << 20
    /// How long calls under way may take once the end was asked for. The host waits two seconds for the process to end.
    private static let grace = Duration.milliseconds(250)

    /// Serves until the host asks for the end, has ended itself, or SIGTERM comes; then ends the process, whatever is still
    /// under way: a host that has asked for the end waits for nothing else.
    func run() async -> Never {
        // Made for the machine's processors otherwise, which are many where GPUs are; a connection uses one.
        NIOSingletons.groupLoopCountSuggestion = 2
        let socket = SocketPath(directory: launch.socketDirectory)
        let (stops, stop) = AsyncStream<Void>.makeStream()
        let server = GRPCServer(
            transport: HTTP2ServerTransport.Posix(
                address: .unixDomainSocket(path: socket.path), transportSecurity: .plaintext, config: Self.configuration
            ),
            services: services { stop.yield() })
        HostWatch.start(output: output.handshakeDescriptor) { stop.yield() }
        EndingSignals.start { stop.yield() }
        await serve(server, socket: socket, until: stops)
    }

    private static var configuration: HTTP2ServerTransport.Posix.Config {
        .defaults { config in
            config.rpc.maxRequestPayloadSize = mostRequestBytes
            config.http2.targetWindowSize = windowBytes
            config.channelDebuggingCallbacks.onAcceptTCPConnection = { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(PingAnswerer(), position: .first)
                }
            }
        }
    }

    private func services(stop: @escaping @Sendable () -> Void) -> [any RegistrableRPCService] {
        [
            HealthService(), ControllerService(stop: stop), BrokerService(), StdioService(),
            PluginListerService(command: command), ObjectStoreService(registry), VolumeSnapshotterService(registry),
            BackupItemActionService(actions: registry.backupItemActions),
            RestoreItemActionService(actions: registry.restoreItemActions),
            DeleteItemActionService(actions: registry.deleteItemActions),
            ItemBlockActionService(actions: registry.itemBlockActions),
        ]
    }

    /// What ended first.
    private enum Event: Sendable {
        case served
        case failed(String)
        case stopped
        case graceIsOver
        case announced
    }

    private func serve(
        _ server: GRPCServer<HTTP2ServerTransport.Posix>, socket: SocketPath, until stops: AsyncStream<Void>
    ) async -> Never {
        await withTaskGroup(of: Event.self) { group in
            group.addTask {
                do {
                    try await server.serve()
                    return .served
                } catch {
                    return .failed("cannot serve at \(socket.path): \(error)")
                }
            }
            group.addTask {
                do {
                    // Answers once the socket listens, which is the moment for the host to hear of it.
                    _ = try await server.listeningAddress
                    try output.writeHandshake(LaunchEnvironment.handshakeLine(socket: socket.path))
                    return .announced
                } catch {
                    return .failed("cannot announce \(socket.path) to the host: \(error)")
                }
            }
            group.addTask {
                for await _ in stops { break }
                return .stopped
            }
            while let event = await group.next() {
                switch event {
                case .announced: continue
                case .stopped:
                    server.beginGracefulShutdown()
                    group.addTask {
                        // A deadline; cancelled or not, it is over then.
                        do { try await Task.sleep(for: Self.grace) } catch { return .graceIsOver }
                        return .graceIsOver
                    }
                case .failed(let reason):
                    logger.error("\(reason)")
                    socket.remove()
                    _exit(1)
                case .served, .graceIsOver:
                    socket.remove()
                    _exit(0)
                }
            }
        }
        preconditionFailure("the last task to end ends the process")
    }
}
