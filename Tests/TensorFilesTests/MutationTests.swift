import Testing

@testable import TensorFiles

/// Every parser is given changed files: whatever it finds, it neither crashes nor breaks a layout's promises, and it
/// reads no more than the file justifies.
@Suite("Changed files") struct MutationTests {
    /// A sample and the parsers that read it.
    struct Target: Sendable, CustomTestStringConvertible {
        var path: String
        var read: @Sendable (any TensorByteSource) throws -> Verdict

        init(_ path: String, _ read: @escaping @Sendable (any TensorByteSource) throws -> Verdict) {
            self.path = path
            self.read = read
        }

        var testDescription: String { path }
    }

    @Sendable private static func anyFile(_ source: any TensorByteSource) throws -> Verdict {
        let finding = try TensorFile.layout(source)
        finding.value?.checkPromises()
        _ = finding.value?.totals
        return Verdict(finding)
    }

    static let targets: [Target] =
        [
            "safetensors/mixed.safetensors", "gguf/v3.gguf", "gguf/split-00001-of-00003.gguf", "torch/checkpoint.ckpt",
            "torch/dtypes.pt", "torch/protocol5.pt", "torch/legacy.pt", "dcp/two_ranks/__0_0.distcp", "numpy/f4.npy",
            "numpy/fortran.npy", "numpy/stored.npz",
        ].map { Target($0, anyFile) } + [
            Target("dcp/two_ranks/.metadata") { source in
                let finding = try DistributedMetadata.read(source)
                if let value = finding.value {
                    #expect(value.requiredSizes.count == value.files.count)
                    _ = value.missing
                }
                return Verdict(finding)
            },
            Target("pickle/protocol0.pkl", pickle), Target("pickle/protocol2.pkl", pickle),
            Target("pickle/protocol5.pkl", pickle),
            Target("safetensors/sharded/model.safetensors.index.json") { source in
                let finding = try ShardIndex.read(source)
                _ = finding.value?.differences(from: [:])
                return Verdict(finding)
            },
            Target("zarr/v3_sharded/zarr.json") { source in
                let finding = try ZarrArray.read(source)
                _ = finding.value?.chunkCount
                _ = finding.value?.chunkBytes
                return Verdict(finding)
            },
            Target("torch/tensor.pt") { source in
                let finding = try ZipArchive.read(source)
                if let archive = finding.value { _ = try archive.checkContent(source) }
                return Verdict(finding)
            },
        ]

    @Sendable private static func pickle(_ source: any TensorByteSource) throws -> Verdict {
        let finding = try Finding {
            var cursor = SourceCursor(source, limit: .max, structure: "the pickle")
            return try PickleReader.read(&cursor, limits: PickleLimits())
        }
        if let graph = finding.value { _ = TorchTensorNames.find(in: graph, limits: TensorFileLimits()) }
        return Verdict(finding)
    }

    @Test(.timeLimit(.minutes(5)), arguments: targets) func noChangeCrashesAParser(target: Target) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let valid = try Samples.bytes(target.path)
        #expect(try target.read(MemorySource(valid)) == .complete)
        var refused = 0
        for round in 0..<400 {
            var bytes = valid
            for _ in 0...Int(generator.next() % 3) { Self.mutate(&bytes, &generator) }
            let source = MemorySource(bytes)
            if try target.read(source) != .complete { refused += 1 }
            // A zip's end is looked for in 64 KiB, once for each item at the most.
            #expect(source.bytesRead < 8 * bytes.count + 200_000, "\(target.path), seed \(seed), round \(round)")
        }
        // Else the changes would reach nothing. Most bytes of most samples are content, which no parser looks at.
        #expect(refused > 20, "\(target.path), seed \(seed)")
    }

    @Test(arguments: targets) func everyCutIsNoticed(target: Target) throws {
        let valid = try Samples.bytes(target.path)
        for count in stride(from: 0, to: valid.count - 1, by: max(1, valid.count / 100)) {
            let verdict = try target.read(MemorySource(Array(valid.prefix(count))))
            // Of a GGUF file's last tensor the padding may be missing; of a data file a whole item is a whole file.
            let mayBeWhole =
                target.path.hasSuffix(".gguf") && valid.count - count < 64 || target.path.hasSuffix(".distcp")
            #expect(verdict != .complete || mayBeWhole, "\(target.path), \(count) bytes")
        }
    }

    /// Numbers at which arithmetic breaks.
    private static let edges: [UInt64] = [
        0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x7fff_ffff_ffff_ffff,
        0x8000_0000_0000_0000, 0xffff_ffff_ffff_fff0, 0xffff_ffff_ffff_ffff,
    ]

    private static func mutate(_ bytes: inout [UInt8], _ generator: inout SeededGenerator) {
        guard !bytes.isEmpty else { return }
        // Headers and directories lie at the ends.
        let near = min(bytes.count, 900)
        let place: Int =
            switch generator.next() % 3 {
            case 0: Int.random(in: 0..<near, using: &generator)
            case 1: bytes.count - 1 - Int.random(in: 0..<near, using: &generator)
            default: Int.random(in: 0..<bytes.count, using: &generator)
            }
        switch generator.next() % 6 {
        case 0: bytes[place] ^= 1 << UInt8(generator.next() % 8)
        case 1: bytes[place] = UInt8(truncatingIfNeeded: generator.next())
        case 2:
            let edge = [UInt8].little(edges[Int(generator.next() % UInt64(edges.count))])
            let width = [1, 2, 4, 8][Int(generator.next() % 4)]
            for (offset, byte) in edge.prefix(width).enumerated() where place + offset < bytes.count {
                bytes[place + offset] = byte
            }
        case 3: bytes.removeSubrange(place..<min(bytes.count, place + Int(generator.next() % 16)))
        case 4:
            let from = Int.random(in: 0..<bytes.count, using: &generator)
            bytes.insert(contentsOf: bytes[from..<min(bytes.count, from + Int(generator.next() % 64))], at: place)
        default: bytes.removeLast(min(bytes.count, Int(generator.next() % 32)))
        }
    }
}
