internal import Basics
internal import CCompressionKernels

/// How much of a chunk is looked at before it is taken apart.
enum PlaneSampling {
    /// The most elements: 16 KiB of each plane.
    static let mostElements = 16 << 10
    /// As few as still tell something.
    static let fewestElements = 2 << 10
    /// One in so many elements of a short chunk, so that looking does not take longer than doing.
    static let sparsity = 16
    /// So many stretches, spread over the chunk.
    static let stretches = 4
    /// So many bytes of a plane's sample that are all the same count as part of a block that is.
    static let constantStretch = 512
    /// Bytes looked at to find out how elements lie.
    static let detectionBytes = 16 << 10
    /// A plane whose bytes hold more bits is noise.
    static let noiseBits: Float = 7.9
    /// A difference is taken if it saves at least so much of the chunk over planes alone, for it needs its base.
    static let leastGainOfBase: Float = 0.03
    /// Coding a plane costs some 0.8 CPU seconds for each GB of it.
    static let priceOfCoding: Float = 0.005
    /// Level 1 is three to six times as slow as literals alone: it must leave so much less of a plane.
    static let matchPercent = 92

    /// How many of `elements` are looked at.
    static func size(_ elements: Int) -> Int {
        guard elements > fewestElements else { return elements }
        let size = min(max(elements / sparsity, fewestElements), mostElements)
        return size / stretches * stretches
    }
}

extension PlaneEncoder {
    /// A plan, and what it leaves of the sample.
    private struct Candidate {
        var plan: PlanePlan
        /// Of 1.
        var share: Float

        /// What counts when two are compared: a plane that need not be coded saves time, worth this much of the chunk.
        var cost: Float {
            let coded = (0..<plan.width).count { plan[$0] == .literals || plan[$0] == .matches }
            return share + Float(coded) * PlaneSampling.priceOfCoding
        }
    }

    /// What to do with the chunk `source`, as a sample of it suggests; nil when planes would not pay 3 %, or when zstd
    /// 1 on the bytes as they are does better.
    func choosePlan(
        _ source: PieceList, _ base: PieceList?, _ elements: ElementLayout?, at offset: Int
    ) throws(CompressionError) -> PlanePlan? {
        var best: Candidate?
        if let elements {
            var plan = PlanePlan(width: elements.width, transform: .plain, anchor: 0)
            let count = takeSample(source, plan, at: offset, into: gathered)
            var found = try assess(plan, count, seeksMatches: !elements.isFloatingPoint)
            if elements.isFloatingPoint {
                // Where every sign is the same, as in second moments, there is nothing to be moved away.
                plan.transform = .rotated
                let rotated = try assess(plan, count, seeksMatches: false)
                if rotated.cost < found.cost { found = rotated }
            }
            best = found
        } else {
            best = try detect(source, at: offset)
        }
        if let base {
            // Without any idea of the elements, four bytes at a time do for two as well.
            let basis = best?.plan ?? PlanePlan(width: 4, transform: .plain, anchor: offset & 3)
            let count = takeSample(source, basis, at: offset, into: gathered)
            _ = takeSample(base, basis, at: offset, into: gatheredBase)
            let alone = best?.share ?? 1
            for transform in [PlaneForm.Transform.difference, .exclusiveOr] {
                let plan = PlanePlan(width: basis.width, transform: transform, anchor: basis.anchor)
                let candidate = try assess(plan, count, seeksMatches: true)
                if candidate.share <= alone - PlaneSampling.leastGainOfBase, candidate.share < best?.share ?? 1 {
                    best = candidate
                }
            }
        }
        guard let best, best.share * 100 <= Float(Self.worthwhilePercent) else { return nil }
        if best.plan.transform.usesBase { return best.plan }
        // One plane of repetitions is the bytes as they are, and zstd sees further in the whole chunk.
        if best.plan.width == 1 && best.plan[0] == .matches { return nil }
        return try suitsWhole(source, best, at: offset) ? nil : best.plan
    }

    /// Looks for elements in bytes of which nothing is known.
    private func detect(_ source: PieceList, at offset: Int) throws(CompressionError) -> Candidate? {
        let stretch = min(PlaneSampling.detectionBytes, source.count) / PlaneSampling.stretches & ~7
        let step = (source.count - stretch) / (PlaneSampling.stretches - 1) & ~7
        for index in 0..<PlaneSampling.stretches {
            unsafe source.copy(
                from: index * step,
                into: UnsafeMutableRawBufferPointer(
                    rebasing: gathered.storage[index * stretch..<(index + 1) * stretch]))
        }
        let sample = unsafe UnsafeRawBufferPointer(
            rebasing: gathered.storage[..<(stretch * PlaneSampling.stretches)])
        guard let finding = ElementDetector.judge(unsafe statistics.residueBits(sample)) else { return nil }
        var best: Candidate?
        func consider(_ transform: PlaneForm.Transform, _ phase: Int) throws(CompressionError) {
            let plan = PlanePlan(
                width: finding.width, transform: transform, anchor: (offset + phase) & (finding.width - 1))
            let count = takeSample(source, plan, at: offset, into: gathered)
            let candidate = try assess(plan, count, seeksMatches: transform == .plain)
            if candidate.cost < best?.cost ?? .infinity { best = candidate }
        }
        for phase in finding.phases { try consider(.rotated, phase) }
        try consider(.plain, finding.phases.first ?? 0)
        return best
    }

    /// Gathers a sample of the elements of `source` in `buffer`. Answers how many.
    private func takeSample(_ source: PieceList, _ plan: PlanePlan, at offset: Int, into buffer: Buffer) -> Int {
        let phase = plan.phase(at: offset)
        let elements = (source.count - phase) / plan.width
        let count = PlaneSampling.size(elements)
        let stretches = count == elements ? 1 : PlaneSampling.stretches
        let stretch = count / stretches
        for index in 0..<stretches {
            let first = stretches == 1 ? 0 : (elements - stretch) / (stretches - 1) * index
            let place = index * stretch * plan.width
            unsafe source.copy(
                from: phase + first * plan.width,
                into: UnsafeMutableRawBufferPointer(
                    rebasing: buffer.storage[place..<place + stretch * plan.width]))
        }
        return count
    }

    /// Takes the gathered sample of `count` elements apart and decides for each plane.
    private func assess(
        _ plan: PlanePlan, _ count: Int, seeksMatches: Bool
    ) throws(CompressionError) -> Candidate {
        for plane in 0..<plan.width {
            unsafe planes.places[plane] =
                planes.plane(plane, count: count).baseAddress?.assumingMemoryBound(to: UInt8.self)
        }
        let base = unsafe plan.transform.usesBase ? gatheredBase.storage.baseAddress : nil
        unsafe plane_split(
            gathered.storage.baseAddress, base, count, Int32(plan.width), Int32(plan.transform.rawValue),
            planes.places)
        var plan = plan
        var total = 0
        for plane in 0..<plan.width {
            let (method, size) = try unsafe assess(
                dropConstantStretches(planes.plane(plane, count: count)), seeksMatches: seeksMatches)
            plan[plane] = method
            total += size
        }
        return Candidate(plan: plan, share: Float(total) / Float(max(count * plan.width, 1)))
    }

    /// What is left of a plane's sample without the stretches of one value: blocks of such cost nothing, whatever the
    /// plan says, and must not make it say what does not suit the others.
    private func dropConstantStretches(_ plane: UnsafeMutableRawBufferPointer) -> UnsafeRawBufferPointer {
        let stretch = PlaneSampling.constantStretch
        var kept = 0
        for start in stride(from: 0, to: plane.count, by: stretch) {
            let part = unsafe UnsafeRawBufferPointer(rebasing: plane[start..<min(start + stretch, plane.count)])
            if unsafe run_length(part.baseAddress, part.count) == part.count { continue }
            unsafe UnsafeMutableRawBufferPointer(rebasing: plane[kept..<kept + part.count]).copyMemory(from: part)
            kept += part.count
        }
        return unsafe UnsafeRawBufferPointer(rebasing: plane[..<kept])
    }

    /// How a plane like this one is best stored, and how many bytes that takes.
    private func assess(
        _ plane: UnsafeRawBufferPointer, seeksMatches: Bool
    ) throws(CompressionError) -> (PlanePlan.Method, Int) {
        let count = plane.count
        guard count > 0 else { return (.runs, 1) }
        let changes = unsafe change_count(plane.baseAddress, count)
        // Runs of 64 bytes and more, of three bytes each.
        if changes * 64 < count { return (.runs, 3 * changes + 2) }
        let measure = unsafe statistics.measure(plane)
        var best = (PlanePlan.Method.stored, count)
        if measure.bits < PlaneSampling.noiseBits {
            let room = count * Self.worthwhilePercent / 100
            let place = unsafe UnsafeMutableRawBufferPointer(rebasing: result.storage[..<room])
            if let size = try unsafe literals.compress(plane, into: place) { best = (.literals, size) }
        }
        let neighbours = 1 - Float(changes) / Float(count)
        if seeksMatches || neighbours > measure.chance + 0.1 {
            let room = best.1 * PlaneSampling.matchPercent / 100
            let place = unsafe UnsafeMutableRawBufferPointer(rebasing: result.storage[..<room])
            if let size = try unsafe matches.compress(plane, into: place) { best = (.matches, size) }
        }
        return best
    }

    /// Whether zstd 1 on the bytes as they are leaves less than `candidate`, by more than a trifle.
    private func suitsWhole(
        _ source: PieceList, _ candidate: Candidate, at offset: Int
    ) throws(CompressionError) -> Bool {
        // Where next to nothing is left, nobody cares which way.
        guard candidate.share > 0.03 else { return false }
        let count = takeSample(source, candidate.plan, at: offset, into: gathered) * candidate.plan.width
        let sample = unsafe UnsafeRawBufferPointer(rebasing: gathered.storage[..<count])
        let room = Int(Float(count) * candidate.share) * Self.worthwhilePercent / 100
        // The planes have been looked at: their memory is free.
        let place = unsafe UnsafeMutableRawBufferPointer(rebasing: planes.all[..<room])
        return try unsafe matches.compress(sample, into: place) != nil
    }
}
