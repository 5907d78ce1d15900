internal import TensorFiles

/// A `.nemo` file: a tar archive (POSIX.1-1988 ustar) with a model's configuration and weights, sometimes compressed.
enum NeMoArchive {
    /// Members that are looked at: a model has a dozen.
    private static let mostMembers = 100_000
    private static let block: UInt64 = 512

    /// A member and the place of its bytes.
    private struct Member {
        var name: String
        var range: Range<UInt64>
    }

    /// What the headers say.
    private enum Archive {
        case members([Member])
        case torn(String)
        case other(String)
    }

    /// Judges the archive at `path`. A compressed one is `unknown`: nothing in it is read.
    static func judge(_ path: String, _ finding: inout CheckpointFinding, _ context: JudgeContext) throws {
        let read = try context.read(path) { source in .complete(try archive(source)) }
        guard let archive = finding.accept(read, of: path) else { return }
        switch archive {
        case .other(let reason): finding.doubt("\(path): \(reason)")
        case .torn(let reason): finding.tear(path, expected: "a whole tar archive", found: reason)
        case .members(let members):
            if !members.contains(where: { $0.name.hasSuffix("model_config.yaml") }) {
                finding.doubt("\(path) holds no model_config.yaml")
            }
            var hasWeights = members.contains { $0.name.contains("model_weights/") }
            for member in members where member.name.hasSuffix(".ckpt") {
                hasWeights = true
                let read = try context.read(path) { source in
                    guard member.range.upperBound <= source.size else {
                        return Finding<TorchFile>.unsupported("it shrank")
                    }
                    return try TorchFile.read(SourceSlice(source, member.range), limits: context.options.files)
                }
                if let file = finding.accept(read, of: "\(path)/\(member.name)") { finding.count(file.layout) }
            }
            if !hasWeights { finding.doubt("\(path) holds no weights in a form that is known") }
        }
    }

    private static func archive(_ source: any TensorByteSource) throws -> Archive {
        let start = try source.bytes(0..<min(source.size, 2))
        if start == [0x1f, 0x8b] { return .other("compressed: what is in it was not read") }
        var members: [Member] = []
        var offset: UInt64 = 0
        while offset + block <= source.size {
            let header = try source.bytes(offset..<offset + block)
            guard header.count == Int(block) else { return .other("the file shrank while it was read") }
            // Two empty blocks end the archive; readers take one.
            if header.allSatisfy({ $0 == 0 }) {
                return members.isEmpty ? .other("an empty archive") : .members(members)
            }
            guard number(header[148..<156]) == checksum(header) else {
                return members.isEmpty
                    ? .other("no tar archive") : .torn("no header of a member at byte \(offset)")
            }
            guard let size = number(header[124..<136]), size <= UInt64(Int64.max) - offset - 2 * block else {
                return .other("a member of a size that is not known here")
            }
            let name = text(header[345..<500], isPrefix: true) + text(header[0..<100], isPrefix: false)
            let end = offset + block + size
            guard end <= source.size else { return .torn("the member \(name) ends at byte \(end) of \(source.size)") }
            guard members.count < mostMembers else { return .other("too many members") }
            members.append(Member(name: name, range: offset + block..<end))
            offset = (end + block - 1) / block * block
        }
        // Python's reader takes an archive that ends without the empty blocks; one that ends in a header it does not.
        guard !members.isEmpty else { return .other("no tar archive") }
        return offset >= source.size
            ? .other("the archive ends without its last blocks")
            : .torn("it ends inside a header, at byte \(source.size)")
    }

    /// Octal digits, or the bytes of a number behind a set first bit.
    private static func number(_ field: ArraySlice<UInt8>) -> UInt64? {
        if field.first == 0x80 {
            return field.dropFirst().dropLast(8).allSatisfy { $0 == 0 }
                ? field.suffix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) } : nil
        }
        let digits = field.drop { $0 == 0x20 }.prefix { (0x30...0x37).contains($0) }
        guard !digits.isEmpty, digits.count <= 20 else { return nil }
        return digits.reduce(UInt64(0)) { $0 << 3 | UInt64($1 - 0x30) }
    }

    private static func checksum(_ header: [UInt8]) -> UInt64 {
        header.enumerated().reduce(UInt64(0)) { $0 + ((148..<156).contains($1.offset) ? 0x20 : UInt64($1.element)) }
    }

    private static func text(_ field: ArraySlice<UInt8>, isPrefix: Bool) -> String {
        let bytes = field.prefix { $0 != 0 }
        return bytes.isEmpty ? "" : String(decoding: bytes, as: UTF8.self) + (isPrefix ? "/" : "")
    }
}
