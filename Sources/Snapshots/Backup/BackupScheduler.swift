internal import Basics
internal import Repository
internal import Sealing

/// Hands work to the backup's threads: what frees memory first, what takes memory last.
///
/// Pieces of large files (strips) are read in one global order, so that the oldest chunk under way can always be
/// completed: with buffers for more than one largest chunk there is no deadlock.
final class BackupScheduler: Sendable {
    /// Something for a thread to do.
    enum Job: Sendable {
        /// Hash and store chunks of large files.
        case chunks([LargeFile.ChunkWork])
        /// Store a chunk of a large file.
        case hashed(LargeFile.ChunkWork, Digest)
        /// Go on with a large file's SHA-256.
        case hash(LargeFile)
        /// Read and scan the next strip of a large file into the buffer.
        case strip(LargeFile, LargeFile.StripPlan, Buffer)
        /// Store small files.
        case small([SmallFile])
    }

    private struct State {
        /// Oldest first from `urgentHead` on: what a file's beginning waits for is done before what follows it.
        var urgent: [Job] = []
        var urgentHead = 0
        var small: [[SmallFile]] = []
        var files: [LargeFile] = []
        var buffers: [Buffer] = []
        var made = 0
        var running = 0
        var walkEnded = false
        var abandoned = false
    }

    private let stripBytes: Int
    private let bufferLimit: Int
    private let state = Monitor(State())
    /// Batches of small files and large files that wait at the most.
    private static let queueLimit = 16
    /// Two are hashed at a time; with some more the second stream seldom stands idle.
    private static let chunksAtOnce = 4

    init(stripBytes: Int, bufferLimit: Int) {
        self.stripBytes = stripBytes
        self.bufferLimit = bufferLimit
    }

    /// Work for the calling thread, waiting for it; nil when all is done. The caller ends it with `finished`.
    func next() -> Job? {
        state.wait { state -> Job?? in
            if state.abandoned { return .some(nil) }
            if !wantsMoreChunks(state), let job = popUrgent(&state) {
                state.running += 1
                return job
            }
            if !state.files.isEmpty, let buffer = takeBuffer(&state) {
                let file = state.files[0]
                let plan = file.nextStrip(stripBytes)
                if plan.isLast { state.files.removeFirst() }
                state.running += 1
                return .strip(file, plan, buffer)
            }
            if let batch = state.small.first {
                state.small.removeFirst()
                state.running += 1
                return .small(batch)
            }
            return state.walkEnded && state.running == 0 && state.files.isEmpty ? .some(nil) : nil
        }
    }

    /// Whether reading another strip first lets more chunks be hashed at once.
    private func wantsMoreChunks(_ state: State) -> Bool {
        let waiting = state.urgent.count - state.urgentHead
        guard waiting > 0, waiting < Self.chunksAtOnce, case .chunks = state.urgent[state.urgentHead] else {
            return false
        }
        return !state.files.isEmpty && (!state.buffers.isEmpty || state.made < bufferLimit)
    }

    private func popUrgent(_ state: inout State) -> Job? {
        guard state.urgentHead < state.urgent.count else { return nil }
        var job = state.urgent[state.urgentHead]
        state.urgentHead += 1
        if case .chunks(var works) = job {
            while works.count < Self.chunksAtOnce, state.urgentHead < state.urgent.count,
                case .chunks(let more) = state.urgent[state.urgentHead]
            {
                works += more
                state.urgentHead += 1
            }
            job = .chunks(works)
        }
        if state.urgentHead == state.urgent.count || state.urgentHead >= 256 {
            state.urgent.removeFirst(state.urgentHead)
            state.urgentHead = 0
        }
        return job
    }

    private func takeBuffer(_ state: inout State) -> Buffer? {
        if let buffer = state.buffers.popLast() { return buffer }
        guard state.made < bufferLimit else { return nil }
        state.made += 1
        return Buffer(capacity: stripBytes + LargeFile.leadIn)
    }

    /// Ends a job that `next` gave.
    func finished() { state.signal { $0.running -= 1 } }

    /// Adds work that came out of other work.
    func add(_ jobs: [Job]) {
        guard !jobs.isEmpty else { return }
        state.signal { $0.urgent += jobs }
    }

    /// Gives a strip's buffer back.
    func give(_ buffer: Buffer) {
        buffer.count = 0
        state.signal { $0.buffers.append(buffer) }
    }

    /// Adds small files; waits while many are waiting. False when the pass has been abandoned.
    func add(small batch: [SmallFile]) -> Bool {
        state.waitAndSignal { state in
            if state.abandoned { return false }
            guard state.small.count < Self.queueLimit else { return nil }
            state.small.append(batch)
            return true
        }
    }

    /// Adds a large file; waits while many are waiting. False when the pass has been abandoned.
    func add(large file: LargeFile) -> Bool {
        state.waitAndSignal { state in
            if state.abandoned { return false }
            guard state.files.count < Self.queueLimit else { return nil }
            state.files.append(file)
            return true
        }
    }

    /// Adds a large file that a worker came upon: it may not wait, for the others may wait for it.
    func add(outgrown file: LargeFile) { state.signal { $0.files.append(file) } }

    /// No more files come.
    func endWalk() { state.signal { $0.walkEnded = true } }

    /// Ends everything: `next` answers nil from now on.
    func abandon() { state.signal { $0.abandoned = true } }
}
