internal import TensorFiles

/// A file of weights, held against its format. What is there in its place is told as well: loaders are less precise.
enum WeightFile {
    /// Zeros in a row that are worth a note.
    private static let longRun: UInt64 = 1 << 20

    /// The layout of the file at `path`, with evidence or doubts for what is wrong with it. When the survey is deep, long
    /// runs of zeros become a note.
    ///
    /// - Parameter format: what the file has to be; another one is a doubt.
    static func check(
        _ path: String, as format: TensorLayout.Format?, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws -> TensorLayout? {
        let read = try context.layout(path)
        if case .notThisFormat(let reason) = read {
            if let instead = try instead(path, context) {
                finding.tear(path, expected: format.map { "a \($0.rawValue) file" } ?? "weights", found: instead)
            } else {
                finding.doubt("\(path): \(reason)")
            }
            return nil
        }
        guard let layout = finding.accept(read, of: path) else { return nil }
        if let format, layout.format != format {
            finding.doubt("\(path) is a \(layout.format.rawValue) file")
            return nil
        }
        finding.count(layout)
        if let time = try context.file(path)?.modified { finding.modified = max(finding.modified ?? time, time) }
        if context.isDeep { try noteZeros(path, layout, &finding, context) }
        return layout
    }

    /// What lies where a file of weights should, when it is something that no loader takes; nil when that is not known.
    private static func instead(_ path: String, _ context: JudgeContext) throws -> String? {
        let start = try context.read(path) { source in
            .complete((size: source.size, bytes: try source.bytes(0..<min(source.size, 512))))
        }
        guard let start = start.value else { return nil }
        if start.size < 9 { return "\(start.size) bytes" }
        if start.bytes.allSatisfy({ $0 == 0 }) { return "zeros: space that was reserved and not written" }
        if start.bytes.starts(with: "version https://git-lfs".utf8) { return "a Git LFS pointer to the file" }
        return nil
    }

    private static func noteZeros(
        _ path: String, _ layout: TensorLayout, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws {
        let longest = try context.read(path) { source -> Finding<(start: UInt64, count: UInt64)> in
            var longest: (start: UInt64, count: UInt64) = (0, 0)
            var run: (start: UInt64, count: UInt64) = (0, 0)
            let block: UInt64 = 256 << 10
            var offset: UInt64 = 0
            while offset < source.size {
                let bytes = try source.bytes(offset..<min(source.size, offset + block))
                guard !bytes.isEmpty else { return .unsupported("the file shrank while it was read") }
                // Whole blocks only: a run of a megabyte has three of them.
                if bytes.allSatisfy({ $0 == 0 }) {
                    if run.count == 0 { run.start = offset }
                    run.count += UInt64(bytes.count)
                    if run.count > longest.count { longest = run }
                } else {
                    run.count = 0
                }
                offset += UInt64(bytes.count)
                try context.progress(bytes.count)
            }
            return .complete(longest)
        }
        guard let longest = finding.accept(longest, of: path), longest.count >= longRun else { return }
        let tensor = layout.regions.last { $0.range.lowerBound <= longest.start }?.name
        finding.note(
            "\(path): \(longest.count) bytes of zeros from byte \(longest.start)"
                + (tensor.map { ", in the tensor \"\($0)\"" } ?? "") + ": sparse weights, or a hole")
    }
}
