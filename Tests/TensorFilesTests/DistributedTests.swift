import Testing

@testable import TensorFiles

@Suite("Distributed checkpoints") struct DistributedTests {
    private func metadata(_ name: String) throws -> DistributedMetadata {
        try DistributedMetadata.read(try Samples.source("dcp/\(name)/.metadata")).get()
    }

    @Test func metadataOfTwoRanksIsRead() throws {
        let metadata = try metadata("two_ranks")
        #expect(metadata.version == "1.0.0" && metadata.saveID?.count == 36)
        #expect(metadata.objects == ["step", "note"])
        #expect(metadata.files == ["__0_0.distcp", "__1_0.distcp"])
        #expect(metadata.requiredSizes == [4731, 8830])
        #expect(metadata.missing == [])
        #expect(
            metadata.tensors.map(\.name) == [
                "model.sharded.weight", "model.columns.weight", "model.uneven", "model.whole",
            ])
        let columns = metadata.tensors[1]
        #expect(columns.dtype == .bf16 && columns.shape == [4, 6])
        #expect(columns.chunks == [.init(offsets: [0, 0], sizes: [4, 3]), .init(offsets: [0, 3], sizes: [4, 3])])
        #expect(metadata.parameters == 24 + 24 + 6 + 5)
        let items = metadata.items(in: "__1_0.distcp")
        #expect(items.count == 6 && items[0].name == "step" && items[0].offsets == nil)
        #expect(items[2].offsets == [3, 0] && items[2].range == 2522..<4099)
        #expect(metadata.items(in: "other") == [])
    }

    @Test func metadataOfOptimizerStateIsRead() throws {
        let metadata = try metadata("one_rank")
        #expect(metadata.tensors.count == 14 && metadata.objects.count == 13 && metadata.items.count == 27)
        #expect(metadata.missing == [])
        #expect(metadata.requiredSizes == [38919])
    }

    @Test func everyItemHasItsPlaceAndName() throws {
        let metadata = try metadata("two_ranks")
        for file in metadata.files {
            let source = try Samples.source("dcp/two_ranks/\(file)")
            let layout = try DistributedDataFile.read(source, items: metadata.items(in: file)).get()
            layout.checkPromises()
            #expect(layout.format == .distributed)
            let suffix = file == "__0_0.distcp" ? "" : "[3,0]"
            let weight = try layout.region("model.sharded.weight\(suffix)")
            #expect(weight.dtype == .f32 && weight.shape == [3, 4])
            // Value n of the tensor is n / 7 - 3, and rank 1 has the rows from 3: the first is 12 / 7 - 3.
            let first = Float(file == "__0_0.distcp" ? 0 : 12) / 7 - 3
            #expect(
                source.bytes[Int(weight.range.lowerBound)...].prefix(4).elementsEqual(
                    [UInt8].little(first.bitPattern)))
            // From the end, without the metadata: the same places.
            let unnamed = try TensorFile.layout(MemorySource(source.bytes)).get()
            #expect(unnamed.format == .distributed)
            #expect(unnamed.regions.map(\.range) == layout.regions.map(\.range))
            #expect(unnamed.regions.allSatisfy { $0.name.hasPrefix("item ") })
        }
    }

    @Test func anItemIsAFileOfItsOwn() throws {
        let metadata = try metadata("two_ranks")
        let bytes = try Samples.bytes("dcp/two_ranks/__1_0.distcp")
        let item = try #require(metadata.items.first { $0.name == "step" })
        let slice = SourceSlice(MemorySource(bytes), item.range)
        let pickle = try TorchFile.read(slice).get().pickle
        #expect(pickle.integer(pickle.root) == 12)
    }

    @Test func noPrefixOfADataFileIsComplete() throws {
        let metadata = try metadata("two_ranks")
        let bytes = try Samples.bytes("dcp/two_ranks/__0_0.distcp")
        let items = metadata.items(in: "__0_0.distcp")
        for count in Array(stride(from: 0, to: bytes.count, by: 11)) + [1577, 3154] {
            let source = MemorySource(Array(bytes.prefix(count)))
            #expect(Verdict(try DistributedDataFile.read(source, items: items)) == .truncated, "\(count) bytes")
            let unnamed = Verdict(try DistributedDataFile.read(source))
            // Without the metadata nothing tells that a whole item is not the last.
            let isItem = items.contains { $0.range.upperBound == UInt64(count) }
            #expect(unnamed == (count < 4 ? .notThisFormat : isItem ? .complete : .truncated), "\(count) bytes")
        }
    }

    @Test func noPrefixOfTheMetadataIsComplete() throws {
        let bytes = try Samples.bytes("dcp/two_ranks/.metadata")
        for count in stride(from: 0, to: bytes.count, by: 3) {
            let finding = try DistributedMetadata.read(MemorySource(Array(bytes.prefix(count))))
            #expect(Verdict(finding) == (count < 1 ? .notThisFormat : .truncated), "\(count) bytes")
        }
    }

    @Test func aPieceThatLiesNowhereIsMissing() throws {
        // The first text of the places' part is the first item's name: another name there leaves that piece out.
        let bytes = try Samples.bytes("dcp/two_ranks/.metadata")
        let name = Array("model.sharded.weight".utf8)
        let last = try #require(bytes.position(of: Array("MetadataIndex".utf8)))
        let place = last + (try #require(Array(bytes[last...]).position(of: name)))
        let changed = bytes.replacing(at: place, with: Array("Model".utf8))
        let metadata = try DistributedMetadata.read(MemorySource(changed)).get()
        #expect(metadata.missing == ["model.sharded.weight at [0, 0]"])
    }

    @Test func aFileOutsideTheCheckpointIsRefused() throws {
        let bytes = try Samples.bytes("dcp/two_ranks/.metadata")
        let place = try #require(bytes.position(of: Array("__0_0.distcp".utf8)))
        for path in ["../0.distcp.", "/_0_0.distcp"] {
            let changed = bytes.replacing(at: place, with: Array(path.utf8))
            #expect(Verdict(try DistributedMetadata.read(MemorySource(changed))) == .unsupported)
        }
    }

    @Test func anotherPickleIsNotMetadata() throws {
        let source = try Samples.source("pickle/protocol4.pkl")
        #expect(Verdict(try DistributedMetadata.read(source)) == .notThisFormat)
    }

    @Test func aDamagedItemIsNamed() throws {
        let metadata = try metadata("two_ranks")
        let bytes = try Samples.bytes("dcp/two_ranks/__0_0.distcp")
        let items = metadata.items(in: "__0_0.distcp")
        // The end record of the second item.
        let changed = bytes.replacing(at: Int(items[1].range.upperBound) - 22, with: [0])
        let finding = try DistributedDataFile.read(MemorySource(changed), items: items)
        #expect(Verdict(finding) == .damaged)
        #expect(finding.reason?.contains("model.columns.weight") == true)
        #expect(Verdict(try DistributedDataFile.read(MemorySource(changed))) == .damaged)
    }

    @Test func aTransformedItemIsNotJudged() throws {
        let metadata = try metadata("two_ranks")
        var items = metadata.items(in: "__0_0.distcp")
        items[0].isTransformed = true
        let source = try Samples.source("dcp/two_ranks/__0_0.distcp")
        #expect(Verdict(try DistributedDataFile.read(source, items: items)) == .unsupported)
    }
}
