import Basics
import Testing

@Suite("Byte coding")
struct ByteCodingTests {
    @Test("What is written is read back", arguments: [0, 1, 127, 128, 300, UInt64.max])
    func varintRoundTrip(value: UInt64) throws {
        var writer = ByteWriter()
        writer.write(varint: value)
        writer.write(zigzag: Int64(bitPattern: value))
        writer.write(littleEndian: value)
        writer.write(prefixed: [1, 2, 3])
        var reader = ByteReader(writer.bytes)
        #expect(try reader.readVarint() == value)
        #expect(try reader.readZigzag() == Int64(bitPattern: value))
        #expect(try reader.read(UInt64.self) == value)
        #expect(try Array(reader.readPrefixed()) == [1, 2, 3])
        try reader.expectEnd()
    }

    @Test(
        "Numbers over 64 bits, short input and lying lengths are refused",
        arguments: [
            [UInt8](repeating: 0xff, count: 10) + [0x01], [0x80], [],
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        ])
    func malformedVarint(bytes: [UInt8]) {
        var reader = ByteReader(bytes)
        #expect(throws: ByteReader.Malformed.self) { try reader.readVarint() }
        var counter = ByteReader([200, 1, 0])
        #expect(throws: ByteReader.Malformed.self) { try counter.readCount() }
        #expect(throws: ByteReader.Malformed.self) { try counter.readRaw(2) }
        #expect(throws: ByteReader.Malformed.self) { try counter.read(UInt32.self) }
    }

    @Test("Hexadecimal")
    func hex() {
        #expect(Hex.encode([0, 0xab, 0xff]) == "00abff")
        #expect(Hex.decode("00ABff") == [0, 0xab, 0xff])
        #expect(Hex.decode("0") == nil)
        #expect(Hex.decode("0g") == nil)
    }
}
