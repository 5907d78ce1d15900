import Basics
package import Foundation
import Synchronization
import SystemPackage

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// A real server as a child process on a free port of the loopback interface, killed when it is dropped and when this
/// process ends, however it ends: a shell between the two waits for the end of its input.
package final class ServerProcess: Sendable {
    /// The port it listens on.
    package let port: Int
    /// A directory of its own, removed with it.
    package let directory: URL
    /// The shell's number.
    private let process: Int32
    private let lifeline: Basics.Pipe

    /// Why a server does not run.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// Where a command is on the PATH; nil when it is not.
    package static func find(_ name: String) -> String? {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        return path.split(separator: ":").map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }

    /// Starts `command`, with arguments made from the port and the directory, and returns once it takes connections.
    package static func start(
        _ command: String, readyWithin seconds: Int = 60, arguments: (Int, URL) throws -> [String]
    ) async throws -> ServerProcess {
        guard let path = find(command) else { throw Failure(description: "\(command) is not on the PATH") }
        let server = try ServerProcess(path, arguments)
        try await BlockingBridge.offload(name: "test-start") { Result { try server.waitUntilReady(seconds) } }
        return server
    }

    /// Runs a command to its end; throws when it fails.
    package static func run(_ command: String, _ arguments: [String]) async throws {
        guard let path = find(command) else { throw Failure(description: "\(command) is not on the PATH") }
        try await BlockingBridge.offload(name: "test-run") {
            Result {
                var launch = ProcessLaunch([path] + arguments, environment: ProcessInfo.processInfo.environment)
                (launch.output, launch.error) = (.null, .null)
                let status = try ChildProcess.end(of: launch.start())
                guard status == 0 else { throw Failure(description: "\(command) ended with status \(status)") }
            }
        }
    }

    private init(_ path: String, _ arguments: (Int, URL) throws -> [String]) throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("becalm-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        port = try Self.freePort()
        lifeline = try Basics.Pipe()
        // A line or the end of its input, whichever comes.
        let script = "\"$@\" </dev/null & child=$!; read -r line; kill -9 $child; wait"
        let words = ["/bin/sh", "-c", script, "sh", path] + (try arguments(port, directory))
        var launch = ProcessLaunch(words, environment: ProcessInfo.processInfo.environment)
        launch.input = .descriptor(lifeline.reader)
        (launch.output, launch.error) = (.null, .null)
        process = try launch.start()
    }

    deinit {
        _ = lifeline.handingOverWriter { write($0, "\n", 1) }
        _ = try? ChildProcess.end(of: process)
        try? FileManager.default.removeItem(at: directory)
    }

    /// The port that is tried next. Below those that the system gives out by itself (32768 on, `ip_local_port_range`): one of
    /// these could be anybody's again before the server has bound it, and a test would talk to another test's server.
    private static let next = Mutex(Int.random(in: 20_000..<32_000))

    private static func freePort() throws -> Int {
        for _ in 0..<1000 {
            let port = next.withLock { next in
                next = next < 31_999 ? next + 1 : 20_000
                return next
            }
            let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(listener) }
            if withAddress(UInt16(port), { bind(listener, $0, $1) == 0 }) { return port }
        }
        throw Failure(description: "no port from 20000 to 31999 is free")
    }

    private static func withAddress<R>(_ port: UInt16, _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) -> R) -> R {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    /// Tries to connect until it succeeds: a child has no other way to say that it listens.
    private func waitUntilReady(_ seconds: Int) throws {
        let clock = ContinuousClock()
        let deadline = clock.now.advanced(by: .seconds(seconds))
        while clock.now < deadline {
            let connection = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(connection) }
            if Self.withAddress(UInt16(port), { connect(connection, $0, $1) == 0 }) { return }
            poll(nil, 0, 20)
        }
        throw Failure(description: "the server does not listen after \(seconds) s")
    }
}
