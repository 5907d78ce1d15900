internal import Orchestration
internal import Snapshots
internal import Synchronization

/// What movers come to, for people and programs.
struct MoverReport: Sendable {
    private let context: CommandContext
    private let options: GlobalOptions
    /// The last tenth that was told of each claim.
    private let told = SharedTenths()

    init(_ context: CommandContext, _ options: GlobalOptions) {
        self.context = context
        self.options = options
    }

    private final class SharedTenths: Sendable {
        let tenths = Mutex<[String: UInt64]>([:])
    }

    /// Tells of one event at once. Progress is told to people in tenths.
    func tell(_ event: MoverEvent) {
        switch event {
        case .remark(let text): context.warn(text, kind: "mover", options)
        case .waiting(let claim, let reason):
            context.output.emit("waiting", [.init("claim", .string(claim)), .init("reason", .string(reason))])
            say("the mover of \(claim) waits: \(reason)")
        case .progress(let claim, let progress):
            context.output.emit(
                "progress",
                [
                    .init("claim", .string(claim)), .init("files", .unsigned(progress.files)),
                    .init("bytes", .unsigned(progress.bytes)), .init("bytes_total", .unsigned(progress.bytesTotal)),
                ])
            let tenth =
                progress.bytesTotal > 0 ? min(progress.bytes, progress.bytesTotal) * 10 / progress.bytesTotal : 0
            let isNew = told.tenths.withLock { tenths in
                defer { tenths[claim] = tenth }
                return tenth > tenths[claim] ?? 0
            }
            if isNew { say("\(claim): \(tenth * 10) % of \(Format.bytes(progress.bytesTotal))") }
        case .ended(let claim, let result):
            context.output.emit("mover", Self.members(claim, result))
            for remark in result.remarks { context.warn("\(claim): \(remark)", kind: "mover", options) }
        }
        context.output.flush()
    }

    private func say(_ line: String) {
        guard context.output.mode == .text, !options.quiet else { return }
        context.console.say(Console.oneLine("becalm: \(line)"))
    }

    /// What a mover's last word has for programs.
    static func members(_ claim: String, _ result: MoverResult) -> [JSONValue.Member] {
        [
            .init("claim", .string(claim)), .init("status", .integer(Int64(result.status.rawValue))),
            .init("snapshot", .string(result.snapshot)), .init("content_digest", .string(result.contentDigest)),
            .init("files", .unsigned(result.files)), .init("bytes", .unsigned(result.bytes)),
            .init("bytes_new", .unsigned(result.bytesNew)), .init("bytes_stored", .unsigned(result.bytesStored)),
            .init("verified", result.verified.map { .unsigned($0) } ?? .null),
            .init("problems", .unsigned(result.problems)), .init("error", .string(result.error)),
        ]
    }
}
