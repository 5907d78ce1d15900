import Testing

@testable import TensorFiles

@Suite("Torch files") struct TorchTests {
    private static let modern = [
        "state_dict.pt", "checkpoint.ckpt", "dtypes.pt", "tensor.pt", "protocol5.pt", "no_tensors.pt", "without_crc.pt",
    ]

    @Test func tensorsOfAStateDictHaveTheirNames() throws {
        for name in ["state_dict.pt", "without_crc.pt"] {
            let file = try TorchFile.read(try Samples.source("torch/\(name)")).get()
            file.layout.checkPromises()
            #expect(file.layout.format == .torch)
            #expect(file.layout.attributes == ["version": "3", "byteorder": "little"])
            // `tied.weight` has the memory of `second.weight`.
            #expect(
                file.layout.regions.map(\.name).sorted() == ["count", "first.bias", "first.weight", "second.weight"])
            let weight = try file.layout.region("first.weight")
            #expect(weight.dtype == .f32 && weight.shape == [4, 6])
            let count = try file.layout.region("count")
            #expect(count.dtype == .i64 && count.shape == [] && count.elements == 1)
        }
    }

    @Test func theCountOfARealFileLiesWhereTheLayoutSays() throws {
        let source = try Samples.source("torch/state_dict.pt")
        let range = try TorchFile.read(source).get().layout.region("count").range
        #expect(source.bytes[Int(range.lowerBound)..<Int(range.upperBound)].elementsEqual([UInt8].little(Int64(3))))
    }

    @Test(arguments: ["checkpoint.ckpt", "legacy.pt"]) func aTrainingCheckpointIsReadThrough(name: String) throws {
        let source = try Samples.source("torch/\(name)")
        let file = try TorchFile.read(source).get()
        file.layout.checkPromises()
        #expect(file.layout.format == (name == "legacy.pt" ? .torchLegacy : .torch))
        #expect((file.archive == nil) == (name == "legacy.pt"))
        let pickle = file.pickle
        #expect(pickle.integer(pickle.value("global_step", of: pickle.root)) == 7)
        #expect(pickle.value("big", of: pickle.root) == .opaque)
        let names = Set(file.layout.regions.map(\.name))
        #expect(names.count == file.layout.regions.count)
        #expect(names.isSuperset(of: ["state_dict.first.weight", "state_dict.second.weight", "rng"]))
        for parameter in 0..<3 {
            for part in ["step", "exp_avg", "exp_avg_sq"] {
                #expect(names.contains("optimizer_states.0.state.\(parameter).\(part)"))
            }
        }
        let step = try file.layout.region("optimizer_states.0.state.0.step")
        #expect(step.dtype == .f32 && step.shape == [])
        #expect(source.bytes[Int(step.range.lowerBound)...].prefix(4).elementsEqual([0, 0, 0, 0x40]))
        #expect(try file.layout.region("rng").shape == [64])
    }

    @Test func everyTypeIsKnown() throws {
        let source = try Samples.source("torch/dtypes.pt")
        let layout = try TorchFile.read(source).get().layout
        layout.checkPromises()
        let expected: [String: (TensorDType, [UInt64])] = [
            "bf16": (.bf16, [4, 4]), "f8": (.f8e5m2, [4, 4]), "u16": (.u16, [4]), "transposed": (.f32, [5, 3]),
            // Two views of 24 numbers: all of them, under the first one's name.
            "view": (.f32, [24]), "parameter": (.f32, [2, 2]), "empty": (.f32, [0, 3]), "complex": (.c64, [3]),
            "mask": (.bool, [2]), "quantised": (.other(name: "qint8", elementBytes: 1), [4, 3]), "raw": (.u8, [9]),
        ]
        for (name, (dtype, shape)) in expected {
            let region = try layout.region(name)
            #expect(region.dtype == dtype && region.shape == shape, "\(region)")
        }
        // A sparse tensor has two storages.
        #expect(layout.regions.count == expected.count + 2)
        #expect(layout.regions.count { $0.name.hasPrefix("sparse.") } == 2)
        let view = try layout.region("view")
        #expect(source.bytes[Int(view.range.lowerBound)...].prefix(8).elementsEqual([0, 0, 0, 0, 0, 0, 0x80, 0x3f]))
    }

    @Test func aLoneTensorHasNoName() throws {
        for name in ["tensor.pt", "protocol5.pt"] {
            let layout = try TorchFile.read(try Samples.source("torch/\(name)")).get().layout
            #expect(layout.regions.map(\.name) == [""] && layout.regions[0].shape == [5, 3])
        }
        #expect(try TorchFile.read(try Samples.source("torch/no_tensors.pt")).get().layout.regions.isEmpty)
    }

    @Test(arguments: modern) func noPrefixIsComplete(name: String) throws {
        let bytes = try Samples.bytes("torch/\(name)")
        // Every one of the smallest file.
        for count in stride(from: 0, to: bytes.count, by: name == "no_tensors.pt" ? 1 : 17) {
            for layout in [
                try TorchFile.read(MemorySource(Array(bytes.prefix(count)))).map(\.layout),
                try TensorFile.layout(MemorySource(Array(bytes.prefix(count)))),
            ] {
                #expect(Verdict(layout) == (count < 4 ? .notThisFormat : .truncated), "\(count) bytes")
            }
        }
    }

    @Test func noPrefixOfALegacyFileIsComplete() throws {
        let bytes = try Samples.bytes("torch/legacy.pt")
        for count in 15..<bytes.count {
            let finding = try TorchFile.read(MemorySource(Array(bytes.prefix(count))))
            #expect(Verdict(finding) == .truncated, "\(count) bytes")
        }
        #expect(Verdict(try TorchFile.read(MemorySource(bytes + [1, 2]))) == .complete)
    }

    @Test func aCountThatTheObjectContradictsIsDamage() throws {
        let bytes = try Samples.bytes("torch/legacy.pt")
        let first = try #require(try TorchFile.read(MemorySource(bytes)).get().layout.regions.first).range.lowerBound
        for count in [UInt64(0), .max] {
            let changed = bytes.replacing(at: Int(first) - 8, with: .little(count))
            #expect(Verdict(try TorchFile.read(MemorySource(changed))) == .damaged)
        }
    }

    @Test func aStorageOfAnotherSizeIsDamage() throws {
        // `tensor.pt`: the storage of 15 floats. The pickle says so in `K\x0f`, a number of one byte.
        let bytes = try Samples.bytes("torch/tensor.pt")
        let place = try #require(bytes.position(of: [UInt8(ascii: "K"), 15]))
        #expect(Verdict(try TorchFile.read(MemorySource(bytes.replacing(at: place + 1, with: [14])))) == .damaged)
        #expect(Verdict(try TorchFile.read(MemorySource(bytes.replacing(at: place + 1, with: [16])))) == .damaged)
    }

    @Test func aTensorLargerThanItsStorageIsDamage() throws {
        // The sizes 5 and 3, then the strides 3 and 1: `K\x05K\x03\x86`, a memo entry, `K\x03K\x01\x86`.
        let bytes = try Samples.bytes("torch/tensor.pt")
        let sizes = try #require(bytes.position(of: Array("K\u{5}K\u{3}".utf8) + [0x86]))
        #expect(Verdict(try TorchFile.read(MemorySource(bytes.replacing(at: sizes + 1, with: [6])))) == .damaged)
        #expect(Verdict(try TorchFile.read(MemorySource(bytes.replacing(at: sizes + 1, with: [4])))) == .complete)
        let strides = try #require(bytes.position(of: Array("K\u{3}K\u{1}".utf8) + [0x86]))
        #expect(Verdict(try TorchFile.read(MemorySource(bytes.replacing(at: strides + 3, with: [2])))) == .damaged)
    }

    @Test func aMissingStorageShows() throws {
        // The key of the only storage: `X\x01\0\0\0` and its digit.
        let bytes = try Samples.bytes("torch/tensor.pt")
        let place = try #require(bytes.position(of: [UInt8(ascii: "X"), 1, 0, 0, 0, UInt8(ascii: "0")]))
        let changed = bytes.replacing(at: place + 5, with: Array("1".utf8))
        #expect(Verdict(try TorchFile.read(MemorySource(changed))) == .missing)
    }

    @Test func anUnknownStorageClassIsNotJudged() throws {
        let bytes = try Samples.bytes("torch/tensor.pt")
        let place = try #require(bytes.position(of: Array("FloatStorage".utf8)))
        let changed = bytes.replacing(at: place, with: Array("FlootStorage".utf8))
        #expect(Verdict(try TorchFile.read(MemorySource(changed))) == .unsupported)
    }

    @Test func onlyTheClassOfAModuleMayBeLeftToTheLoaderBesideStorages() throws {
        for (kind, verdict) in [("module", Verdict.complete), ("other", .unsupported)] {
            let pickle = Array("(S'\(kind)'\ncos\nsystem\nS'file'\nS'source'\ntQ.".utf8)
            let finding = try Finding {
                var cursor = SourceCursor(MemorySource(pickle), limit: .max, structure: "the pickle")
                let graph = try PickleReader.read(&cursor, limits: PickleLimits())
                return try TorchStorage.all(in: graph, limits: TensorFileLimits()).count
            }
            #expect(Verdict(finding) == verdict && (finding.value ?? 0) == 0)
        }
    }

    @Test func anUnknownVersionIsNotJudged() throws {
        let bytes = try Samples.bytes("torch/tensor.pt")
        let range = try #require(try ZipArchive.read(MemorySource(bytes)).get().member(named: "tensor/version")).range
        for text in ["0\n", "99", "x\n"] {
            let changed = bytes.replacing(at: Int(range.lowerBound), with: Array(text.utf8))
            #expect(Verdict(try TorchFile.read(MemorySource(changed))) == .unsupported)
        }
        #expect(
            Verdict(
                try TorchFile.read(MemorySource(bytes.replacing(at: Int(range.lowerBound), with: Array("10".utf8)))))
                == .complete)
    }

    @Test func anotherZipIsNotTorchs() throws {
        #expect(Verdict(try TorchFile.read(try Samples.source("numpy/stored.npz"))) == .notThisFormat)
        let bytes = try Samples.bytes("numpy/stored.npz")
        #expect(Verdict(try TorchFile.read(MemorySource(Array(bytes.dropLast())))) == .notThisFormat)
    }
}
