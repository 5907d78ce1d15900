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
    /// What the states in the snapshot have it do.
    let plan: RestorePlan
    /// The checkpoint that is wanted, and no more than it needs; nil for what the patterns fit.
    let selection: CheckpointSelection?
    let metadata: MetadataWriter
    /// Aligned memory for what is written past the page cache.
    let blocks: BufferPool
    private let result: Mutex<RestoreResult>
    private let patterns: [GlobPattern]
    /// States of which something could not be restored, as positions in the inventory: what, as text.
    private let broken = Mutex<[Int: String]>([:])
    /// Files that `overwrite` left as they were, for the check of what was restored: some 150 bytes each.
    private let leftAsFound = Mutex<Set<[UInt8]>>([])
    private static let blockBytes = 1 << 20
    /// Notes of a kind that are kept; more are counted.
    private static let noteLimit = 10_000

    init(
        repository: Repository, request: RestoreRequest, progress: OperationProgress, target: RestoreTarget,
        plan: RestorePlan, selection: CheckpointSelection? = nil
    ) {
        self.repository = repository
        self.request = request
        self.progress = progress
        self.target = target
        self.plan = plan
        self.selection = selection
        patterns = selection == nil ? request.includes.map { GlobPattern($0) } : []
        metadata = MetadataWriter(owners: OwnerNames(), ownership: request.numericOwners ? .byID : .byName)
        blocks = BufferPool(bufferCapacity: Self.blockBytes, limit: max(1, repository.plan.ranges))
        var result = RestoreResult(snapshot: request.snapshot)
        if request.verify { result.verified = 0 }
        if let selection {
            result.checkpoint = StatePath.text(selection.path)
            if selection.state.judgement != "complete" {
                let reason = selection.state.reasons.first.map { ": \($0)" } ?? ""
                result.remarks.append(
                    Self.note(selection.path, "it is not known whether this checkpoint is complete\(reason)"))
            }
        }
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
        return Self.temporaryPrefix + SHA256State.digest(of: text).description.prefix(32).utf8
    }

    private static let temporaryPrefix = Array(".becalm-part-".utf8)

    /// Whether a restore may have given this name to a file that is not complete.
    static func isTemporary(_ name: [UInt8]) -> Bool { name.starts(with: temporaryPrefix) }

    /// Whether something is what a restore would make of `wanted`, as far as can be told without reading it: a file gets
    /// its name, size and time when it is complete, never before.
    static func isSame(_ found: FileMetadata, _ wanted: FileMetadata) -> Bool {
        // Not every file system keeps nanoseconds.
        found.type == wanted.type && found.linkTarget == wanted.linkTarget
            && (wanted.type != .regular
                || found.size == wanted.size && abs(found.modified - wanted.modified) < 2)
    }

    /// Whether the entry is to be restored, by its path in the snapshot. Directories above such are not.
    func wants(_ path: [[UInt8]], _ entry: TreeEntry) -> Bool {
        if let selection { return selection.part(of: path, entry) == .within }
        return patterns.isEmpty || patterns.contains { $0.matchesOrContains(path) }
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
        for remark in remarks { self.remark(path, "\(remark)") }
    }

    func remark(_ path: [[UInt8]], _ message: String) {
        result.withLock { Self.append(Self.note(path, message), to: &$0.remarks) }
    }

    /// A link or special file that this system does not take was not made.
    func unmade(_ path: [[UInt8]], _ remark: RestoreRemark) {
        self.remark(path, [remark])
        breakStates(path)
        skipped()
    }

    /// Takes note, once, of what has another name at `path` or above it; by the path in the snapshot.
    func usesNames(of path: [[UInt8]]) {
        for aside in plan.aside(of: path) {
            let old = StatePath.text(plan.place(Array(aside.path.dropLast())) + [aside.path[aside.path.count - 1]])
            let new = StatePath.text(plan.place(aside.path))
            result.withLock { result in
                guard !result.setAside.contains(where: { $0.newPath == new }) else { return }
                result.setAside.append(.init(path: old, newPath: new, reasons: aside.reasons))
            }
        }
    }

    /// Something of a state that cannot be restored; by its place in the target.
    private func breakStates(_ path: [[UInt8]]) {
        let states = plan.members.states(of: path).union(plan.members.states(below: path))
        guard !states.isEmpty else { return }
        broken.withLock { broken in
            for state in states where broken[state] == nil { broken[state] = StatePath.text(path) }
        }
    }

    /// What of a state could not be restored; nil when nothing has failed so far.
    func broken(_ state: Int) -> String? { broken.withLock { $0[state] } }

    func failed(_ path: [[UInt8]], _ error: any Error) {
        breakStates(path)
        progress.update { $0.files += 1 }
        result.withLock { Self.append(Self.note(path, "\(error)"), to: &$0.failed) }
    }

    /// `lost` are the bytes that could not be had, where that is known.
    func damaged(_ path: [[UInt8]], _ error: any Error, lost: [Range<UInt64>] = []) {
        breakStates(path)
        progress.update { $0.files += 1 }
        result.withLock { Self.append(Self.note(path, "\(error)", lost), to: &$0.damaged) }
    }

    /// Files left out so that a state does not count as committed.
    func withheld(_ path: [[UInt8]], _ message: String) {
        result.withLock { Self.append(Self.note(path, message), to: &$0.failed) }
    }

    /// How long reading back took, this time.
    func verified(in seconds: Double) { result.withLock { $0.verifySeconds += seconds } }

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
