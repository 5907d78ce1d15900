internal import Basics
internal import Repository
internal import RepositoryFormat
internal import Sealing
internal import Synchronization

/// What all threads of a restore share.
final class RestoreContext: Sendable {
    let repository: Repository
    let request: RestoreRequest
    let progress: OperationProgress
    let target: RestoreTarget
    let metadata: MetadataWriter
    /// Aligned memory for what is written past the page cache.
    let blocks: BufferPool
    private let result: Mutex<RestoreResult>
    /// Files that `overwrite` left as they were, for the check of what was restored: some 150 bytes each.
    private let leftAsFound = Mutex<Set<[UInt8]>>([])
    private static let blockBytes = 1 << 20
    /// Notes of a kind that are kept; more are counted.
    private static let noteLimit = 10_000

    init(repository: Repository, request: RestoreRequest, progress: OperationProgress, target: RestoreTarget) {
        self.repository = repository
        self.request = request
        self.progress = progress
        self.target = target
        metadata = MetadataWriter(owners: OwnerNames(), ownership: request.numericOwners ? .byID : .byName)
        blocks = BufferPool(bufferCapacity: Self.blockBytes, limit: max(1, repository.plan.ranges))
        var result = RestoreResult(snapshot: request.snapshot)
        if request.verify { result.verified = 0 }
        self.result = Mutex(result)
    }

    var outcome: RestoreResult { result.withLock { $0 } }

    func check() throws {
        if progress.isCancelled {
            throw RepositoryError(.cancelled, "the restore was interrupted: run it again with --resume to go on")
        }
    }

    /// The name under which a file is written before it is complete: the same in every run of the same restore.
    func temporaryName(for path: [[UInt8]]) -> [UInt8] {
        let text = Array(request.snapshot.bytes) + path.joined(separator: [0x2f])
        return Array(".becalm-part-\(SHA256State.digest(of: text).description.prefix(32))".utf8)
    }

    func wrote(_ bytes: UInt64) { result.withLock { $0.bytesWritten += bytes } }

    func skipped() {
        progress.update { $0.files += 1 }
        result.withLock { $0.skipped += 1 }
    }

    /// Something is in the way and stays.
    func left(_ path: [[UInt8]]) {
        skipped()
        guard request.verify else { return }
        leftAsFound.withLock { _ = $0.insert(Array(path.joined(separator: [0x2f]))) }
    }

    /// Whether what was there has stayed.
    func wasLeft(_ path: [[UInt8]]) -> Bool {
        leftAsFound.withLock { $0.contains(Array(path.joined(separator: [0x2f]))) }
    }

    /// A file was read back and compared.
    func compared() { result.withLock { $0.verified = ($0.verified ?? 0) + 1 } }

    /// Takes note of the patterns that nothing fits.
    func matchedAllBut(_ patterns: [String]) {
        result.withLock { result in
            result.unmatched = patterns
            result.fitsNothing = !patterns.isEmpty && patterns.count == request.includes.count
        }
    }

    func restored(_ path: [[UInt8]], _ remarks: [RestoreRemark]) {
        progress.update { $0.files += 1 }
        result.withLock { result in
            result.files += 1
            for remark in remarks { Self.append(Self.note(path, "\(remark)"), to: &result.remarks) }
        }
    }

    func remark(_ path: [[UInt8]], _ remarks: [RestoreRemark]) {
        guard !remarks.isEmpty else { return }
        result.withLock { result in
            for remark in remarks { Self.append(Self.note(path, "\(remark)"), to: &result.remarks) }
        }
    }

    func failed(_ path: [[UInt8]], _ error: any Error) {
        progress.update { $0.files += 1 }
        result.withLock { Self.append(Self.note(path, "\(error)"), to: &$0.failed) }
    }

    /// `lost` are the bytes that could not be had, where that is known.
    func damaged(_ path: [[UInt8]], _ error: any Error, lost: [Range<UInt64>] = []) {
        progress.update { $0.files += 1 }
        result.withLock { Self.append(Self.note(path, "\(error)", lost), to: &$0.damaged) }
    }

    /// How long reading back took.
    func verified(in seconds: Double) { result.withLock { $0.verifySeconds = seconds } }

    private static func note(_ path: [[UInt8]], _ message: String, _ lost: [Range<UInt64>] = []) -> RestoreResult.Note {
        .init(
            path: path.isEmpty ? "/" : PathText.display(Array(path.joined(separator: [0x2f]))), message: message,
            lost: Array(lost.prefix(RestoreResult.Note.mostLost)))
    }

    private static func append(_ note: RestoreResult.Note, to notes: inout [RestoreResult.Note]) {
        if notes.count < noteLimit {
            notes.append(note)
        } else if notes.count == noteLimit {
            notes.append(.init(path: "", message: "and more, which are not listed"))
        }
    }
}
