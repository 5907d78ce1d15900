import Testing

@testable import TensorFiles

@Suite("Zip archives") struct ZipTests {
    @Test func membersOfARealArchiveHaveTheirPlaces() throws {
        let source = try Samples.source("torch/tensor.pt")
        let archive = try ZipArchive.read(source).get()
        #expect(
            archive.members.map(\.name)
                == [
                    "data.pkl", ".format_version", ".storage_alignment", "byteorder", "data/0", "version",
                    ".data/serialization_id",
                ].map { "tensor/\($0)" })
        let member = try #require(archive.member(named: "tensor/byteorder"))
        #expect(member.isStored && member.crc == 0x19e3_3d85)
        #expect(source.bytes[Int(member.range.lowerBound)..<Int(member.range.upperBound)].elementsEqual("little".utf8))
        #expect(archive.members.allSatisfy { $0.name != "tensor/data/0" || $0.range.lowerBound % 64 == 0 })
    }

    @Test func checksumsAreThoseOfTheContent() throws {
        let source = try Samples.source("torch/checkpoint.ckpt")
        let archive = try ZipArchive.read(source).get()
        var told = 0
        let check = try archive.checkContent(source) { told += $0 }.get()
        #expect(check == .init(matching: archive.members.count))
        #expect(told == archive.members.reduce(0) { $0 + $1.range.count })
    }

    @Test func everyFlippedByteOfAMemberShows() throws {
        let bytes = try Samples.bytes("torch/tensor.pt")
        let archive = try ZipArchive.read(MemorySource(bytes)).get()
        for member in archive.members {
            for offset in member.range {
                let changed = MemorySource(bytes.replacing(at: Int(offset), with: [bytes[Int(offset)] ^ 1]))
                #expect(try archive.checkContent(changed).get().mismatching == [member.name])
            }
        }
    }

    @Test func missingChecksumsAreNoMismatch() throws {
        let source = try Samples.source("torch/without_crc.pt")
        let check = try ZipArchive.read(source).get().checkContent(source).get()
        #expect(check == .init(isWithoutChecksums: true))
    }

    @Test func compressedMembersAreLeftUnchecked() throws {
        let source = try Samples.source("numpy/compressed.npz")
        let archive = try ZipArchive.read(source).get()
        #expect(archive.members.count == 3 && archive.members.allSatisfy { !$0.isStored })
        #expect(try archive.checkContent(source).get() == .init(unchecked: 3))
    }

    @Test func aCheckEndsWhenItsCallerWants() throws {
        struct Enough: Error {}
        let source = try Samples.source("torch/tensor.pt")
        let archive = try ZipArchive.read(source).get()
        #expect(throws: Enough.self) { try archive.checkContent(source) { _ in throw Enough() } }
    }

    @Test func theChecksumIsTheStandardOne() {
        for count in [9, 0, 1, 7, 8, 17] {
            var slow: UInt32 = 0xffff_ffff
            let bytes = (0..<count).map { UInt8(ascii: "1") + UInt8($0 % 9) }
            for byte in bytes {
                slow ^= UInt32(byte)
                for _ in 0..<8 { slow = slow & 1 == 1 ? slow >> 1 ^ 0xedb8_8320 : slow >> 1 }
            }
            var fast = CRC32()
            bytes.withUnsafeBytes { fast.update($0) }
            #expect(fast.value == ~slow, "\(count) bytes")
            if count == 9 { #expect(fast.value == 0xcbf4_3926) }
        }
    }

    /// Where the records at the end of `tensor.pt` begin.
    private struct Ends {
        let bytes: [UInt8]
        let end64: Int
        let locator: Int
        let end: Int
        let directory: Int

        init() throws {
            bytes = try Samples.bytes("torch/tensor.pt")
            end64 = try #require(bytes.lastPosition(of: [0x50, 0x4b, 6, 6]))
            locator = try #require(bytes.lastPosition(of: [0x50, 0x4b, 6, 7]))
            end = try #require(bytes.lastPosition(of: [0x50, 0x4b, 5, 6]))
            directory = try #require(bytes.position(of: [0x50, 0x4b, 1, 2]))
        }

        func verdict(at offset: Int, _ part: [UInt8]) throws -> Verdict {
            Verdict(try ZipArchive.read(MemorySource(bytes.replacing(at: offset, with: part))))
        }
    }

    @Test func liesAreSeen() throws {
        let ends = try Ends()
        // The zip64 record's place, count, size and offset.
        #expect(try ends.verdict(at: ends.locator + 8, .little(UInt64.max)) == .unsupported)
        #expect(try ends.verdict(at: ends.locator + 8, .little(UInt64(5))) == .unsupported)
        #expect(try ends.verdict(at: ends.end64 + 24, [UInt8].little(UInt64.max) + .little(UInt64.max)) == .damaged)
        #expect(try ends.verdict(at: ends.end64 + 24, [UInt8].little(UInt64(6)) + .little(UInt64(6))) == .damaged)
        #expect(try ends.verdict(at: ends.end64 + 24, [UInt8].little(UInt64(8)) + .little(UInt64(8))) == .damaged)
        #expect(try ends.verdict(at: ends.end64 + 32, .little(UInt64(6))) == .unsupported)
        #expect(try ends.verdict(at: ends.end64 + 40, .little(UInt64.max)) == .damaged)
        #expect(try ends.verdict(at: ends.end64 + 48, .little(UInt64.max)) == .damaged)
        #expect(try ends.verdict(at: ends.end64 + 48, .little(UInt64(ends.directory - 1))) == .damaged)
        #expect(try ends.verdict(at: ends.end64 + 16, .little(UInt32(1))) == .unsupported)
        // Without the locator the plain record serves.
        #expect(try ends.verdict(at: ends.locator, [0]) == .complete)
        #expect(try ends.verdict(at: ends.end, [0]) == .truncated)
        // An entry's signature, encryption, method, sizes, place and name.
        #expect(try ends.verdict(at: ends.directory, [0]) == .damaged)
        #expect(try ends.verdict(at: ends.directory + 8, [1]) == .unsupported)
        #expect(try ends.verdict(at: ends.directory + 20, .little(UInt32(9999))) == .unsupported)
        #expect(try ends.verdict(at: ends.directory + 20, .little(UInt64(9999) << 32 | 9999)) == .damaged)
        #expect(try ends.verdict(at: ends.directory + 20, .little(UInt32.max)) == .damaged)
        #expect(try ends.verdict(at: ends.directory + 42, .little(UInt32(1))) == .damaged)
        #expect(try ends.verdict(at: ends.directory + 42, .little(UInt32(100_000))) == .damaged)
        #expect(try ends.verdict(at: ends.directory + 46, [0x58]) == .unsupported)
        #expect(try ends.verdict(at: ends.directory + 28, .little(UInt16.max)) == .unsupported)
        #expect(try ends.verdict(at: 28, .little(UInt16.max)) == .damaged)
    }

    @Test func twoEntriesForOnePlaceAreRefused() throws {
        let ends = try Ends()
        let second = try #require(Array(ends.bytes[(ends.directory + 1)...]).position(of: [0x50, 0x4b, 1, 2]))
        let place = ends.directory + 1 + second + 42
        #expect(try ends.verdict(at: place, .little(UInt32(0))) == .unsupported)
    }

    @Test func whatFollowsTheArchiveDoesNotMatter() throws {
        // PyTorch's reader finds the end record within 64 KiB.
        let bytes = try Samples.bytes("torch/tensor.pt")
        #expect(Verdict(try TorchFile.read(MemorySource(bytes + [UInt8](repeating: 1, count: 65_535)))) == .complete)
        #expect(Verdict(try TorchFile.read(MemorySource(bytes + [UInt8](repeating: 1, count: 65_536)))) == .truncated)
    }
}
