import Testing

@testable import TensorFiles

@Suite("NumPy files") struct NumPyTests {
    @Test func anArrayHasItsPlace() throws {
        let layout = try NumPyFile.read(try Samples.source("numpy/f4.npy")).get()
        layout.checkPromises()
        #expect(layout.format == .npy && layout.attributes == [:])
        #expect(layout.regions == [.init(name: "", dtype: .f32, shape: [3, 4], range: 128..<176)])
        let fortran = try NumPyFile.read(try Samples.source("numpy/fortran.npy")).get()
        #expect(fortran.attributes == ["order": "fortran", "byteorder": "big"])
        #expect(fortran.regions[0].dtype == .f64)
    }

    @Test func objectsAndRecordsAreNotJudged() throws {
        for name in ["objects.npy", "records.npy"] {
            #expect(Verdict(try NumPyFile.read(try Samples.source("numpy/\(name)"))) == .unsupported)
        }
    }

    @Test func noPrefixIsComplete() throws {
        for name in ["f4.npy", "stored.npz", "compressed.npz"] {
            let bytes = try Samples.bytes("numpy/\(name)")
            for count in 0..<bytes.count {
                for finding in [
                    try NumPyFile.read(MemorySource(Array(bytes.prefix(count)))),
                    try TensorFile.layout(MemorySource(Array(bytes.prefix(count)))),
                ] {
                    let isShort = count < (name == "f4.npy" ? 6 : 4)
                    #expect(Verdict(finding) == (isShort ? .notThisFormat : .truncated), "\(name), \(count) bytes")
                }
            }
        }
    }

    @Test func arraysOfAnArchiveHaveTheirPlaces() throws {
        let source = try Samples.source("numpy/stored.npz")
        let layout = try NumPyFile.read(source).get()
        layout.checkPromises()
        #expect(layout.format == .npz)
        #expect(layout.regions.map(\.name) == ["weights", "half", "n"])
        #expect(layout.regions.map(\.dtype) == [.f32, .f16, .i64])
        #expect(
            source.bytes[Int(layout.regions[2].range.lowerBound)...].prefix(8).elementsEqual([UInt8].little(Int64(4))))
        #expect(try NumPyFile.read(try Samples.source("numpy/compressed.npz")).get().regions.isEmpty)
    }

    @Test func anArrayLargerThanItsMemberIsDamage() throws {
        // The last member holds one number; nine would end among the archive's own records, still inside the file.
        let bytes = try Samples.bytes("numpy/stored.npz")
        let place = try #require(bytes.lastPosition(of: Array("(), }  ".utf8)))
        let changed = bytes.replacing(at: place, with: Array("(9,), }".utf8))
        #expect(Verdict(try NumPyFile.read(MemorySource(changed))) == .damaged)
    }

    @Test(arguments: [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", Verdict.complete),
        ("{'shape': (2L,), \"descr\": \"|V2\", 'fortran_order': True}\n", .complete),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': ()}", .complete),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", .truncated),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 2), }", .damaged),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387903,), }", .damaged),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616,), }", .unsupported),
        ("{'descr': '<f4', 'fortran_order': False, }", .damaged),
        ("{'descr': '<f4', 'fortran_order': 0, 'shape': (2,), }", .unsupported),
        ("{'descr': '<q4', 'fortran_order': False, 'shape': (2,), }", .unsupported),
        ("{'descr': '<V99999999', 'fortran_order': False, 'shape': (2,), }", .unsupported),
        ("{'descr': 'f', 'fortran_order': False, 'shape': (2,), }", .unsupported),
        ("{'descr': '<f4', 'extra': False, 'shape': (2,), }", .damaged),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), } x", .unsupported),
        ("{'descr': '<f4", .unsupported), ("", .unsupported),
    ])
    func aHeaderIsReadStrictly(text: String, verdict: Verdict) throws {
        let header = [0x93] + Array("NUMPY".utf8) + [1, 0] + .little(UInt16(text.utf8.count)) + Array(text.utf8)
        let finding = try NumPyFile.read(MemorySource(header + [UInt8](repeating: 0, count: 8)))
        #expect(Verdict(finding) == verdict, "\(finding.reason ?? "complete")")
    }
}
