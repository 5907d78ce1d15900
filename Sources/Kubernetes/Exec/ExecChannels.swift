/// The messages of v4.channel.k8s.io and v5.channel.k8s.io: a channel's number, then its bytes (apimachinery,
/// `remotecommand`).
enum ExecChannels {
    /// In order of preference. Version 5 differs in that it can close the input.
    static let protocols = ["v5.channel.k8s.io", "v4.channel.k8s.io"]
    static let v5 = "v5.channel.k8s.io"

    /// Bytes of input in a message.
    static let inputBlock = 32 << 10

    /// What a message of the server says.
    enum Message: Equatable {
        case output(ExecRequest.Output, ArraySlice<UInt8>)
        /// The `Status` with which the command ended.
        case status([UInt8])
        /// Of a channel that only the other side reads, or nothing at all: servers open each with an empty message.
        case nothing
    }

    /// Takes a message apart.
    static func parse(_ message: [UInt8]) -> Message {
        guard let channel = message.first, message.count > 1 else { return .nothing }
        switch channel {
        case 1: return .output(.standardOutput, message[1...])
        case 2: return .output(.standardError, message[1...])
        case 3: return .status(Array(message[1...]))
        default: return .nothing
        }
    }

    /// The messages that carry `input`, with its end where the protocol can say it.
    static func messages(for input: [UInt8], closing: Bool) -> [[UInt8]] {
        var messages = stride(from: 0, to: input.count, by: inputBlock).map { start in
            [0] + input[start..<min(start + inputBlock, input.count)]
        }
        if closing { messages.append([255, 0]) }
        return messages
    }

    /// The exit code that a `Status` tells; nil when the command could not be run.
    static func exitCode(_ status: JSONValue) -> Int? {
        if status["status"]?.string == "Success" { return 0 }
        guard status["reason"]?.string == "NonZeroExitCode" else { return nil }
        let cause = (status["details", "causes"]?.array ?? []).first { $0["reason"]?.string == "ExitCode" }
        return cause?["message"]?.string.flatMap { Int($0) }
    }
}
