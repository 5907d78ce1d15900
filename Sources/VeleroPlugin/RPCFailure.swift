internal import Basics
internal import GRPCCore
internal import GRPCProtobuf
internal import SwiftProtobuf
internal import Velero
internal import VeleroProtocol

/// The one place where an error of the domain becomes a gRPC status.
///
/// Velero shows its users the status's message, whatever the code; Go plugins send `unknown`, and so do we. The place where
/// the error was made goes along as Velero's `Stack` in `grpc-status-details-bin`, from which it logs file and function.
enum RPCFailure {
    /// Longest message that goes out, as it travels in a header: percent-encoded. It travels twice, the second time in
    /// Base64 in the details, and some hosts take no more than 8 KiB of headers.
    static let mostMessageBytes = 1536
    /// Longest name of a plugin that is repeated to the caller, likewise.
    private static let mostNameBytes = 128

    /// The status for an error, with the plugin's name in front of its message.
    static func status(_ error: any Error, plugin: String) -> any Error {
        guard !(error is CancellationError) else {
            return RPCError(code: .cancelled, message: "the call was cancelled")
        }
        if let error = error as? RPCError { return error }
        let plugin = oneLine(plugin.isEmpty ? "velero-plugin-becalm" : plugin, mostBytes: mostNameBytes)
        let message = oneLine("\(plugin): \(error)", mostBytes: mostMessageBytes)
        guard let error = error as? VeleroError else { return RPCError(code: .unknown, message: message) }
        if error.code == .cancelled { return RPCError(code: .cancelled, message: message) }
        var frame = Generated_StackFrame()
        frame.file = error.location.fileID
        frame.line = Int32(clamping: error.location.line)
        frame.function = plugin
        var stack = Generated_Stack()
        stack.frames = [frame]
        do {
            let detail = try Google_Protobuf_Any(message: stack)
            return GoogleRPCStatus(code: .unknown, message: message, details: [.any(detail)])
        } catch {
            // A message without the stack still says what happened.
            return RPCError(code: .unknown, message: message)
        }
    }

    /// Runs a call of the domain.
    static func mapping<R: Sendable>(plugin: String, _ body: () async throws -> R) async throws -> R {
        do { return try await body() } catch { throw status(error, plugin: plugin) }
    }

    /// On one line, and cut to so many bytes of a header: what is no printable ASCII takes three a byte there (gRPC over
    /// HTTP/2, Status-Message).
    private static func oneLine(_ text: String, mostBytes: Int) -> String {
        var line = ""
        var count = 0
        for scalar in text.unicodeScalars {
            let scalar = scalar.value < 0x20 || scalar.value == 0x7f ? " " : scalar
            count += (0x20...0x7e).contains(scalar.value) && scalar != "%" ? 1 : 3 * UTF8.width(scalar)
            guard count <= mostBytes else { return line + "..." }
            line.unicodeScalars.append(scalar)
        }
        return line
    }
}
