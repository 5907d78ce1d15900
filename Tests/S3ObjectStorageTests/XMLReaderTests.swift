import ObjectStorageTesting
import Testing

@testable import S3ObjectStorage

@Suite("XML")
struct XMLReaderTests {
    private static func parse(_ text: String) -> XMLElement? { try? XMLElement.parse(Array(text.utf8)) }

    @Test("Elements, text, references, sections, and what is read over")
    func reads() throws {
        let root = try #require(
            Self.parse(
                "\u{feff}<?xml version='1.0'?>\n<!-- c > --> <s3:A xmlns:s3='u' x=\"&lt;\" >\n <B>a&amp;&lt;&gt;&quot;&apos;&#65;&#x42;é</B><C/>"
                    + "<B><![CDATA[<&]]]></B>\t<D > x </D ></s3:A>\n"))
        #expect(root.name == "A" && root.text == "")
        #expect(root.all("B").map(\.text) == ["a&<>\"'ABé", "<&]"])
        #expect(root["C"] == XMLElement(name: "C"))
        #expect(root["D"]?.text == " x ")
        #expect(root["E"] == nil)
    }

    @Test(
        "What is no document",
        arguments: [
            "", " ", "x", "<", "<a", "<a>", "<a></b>", "</a>", "<a/><b/>", "<a/>x", "x<a/>", "<a b></a>", "<a b=c/>",
            "<a b='></a>",
            "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "<a>&x;</a>", "<a>&#xD800;</a>", "<a>&#1114112;</a>",
            "<a>&amp</a>", "<a>&;</a>",
            "<a><![CDATA[x</a>", "<a><!-- x</a>", "<a><?x</a>", "<![CDATA[x]]>", "<a/ >", "<a b='<'/>", "< a/>",
            "<a></a",
        ])
    func refuses(text: String) {
        #expect(Self.parse(text) == nil)
    }

    @Test("Depth, elements and names have limits")
    func limits() {
        func nested(_ depth: Int) -> String {
            String(repeating: "<a>", count: depth) + String(repeating: "</a>", count: depth)
        }
        #expect(Self.parse(nested(32)) != nil)
        #expect(Self.parse(nested(33)) == nil)
        #expect(Self.parse("<r>" + String(repeating: "<a/>", count: 99_999) + "</r>") != nil)
        #expect(Self.parse("<r>" + String(repeating: "<a/>", count: 100_000) + "</r>") == nil)
        let name = String(repeating: "n", count: 256)
        #expect(Self.parse("<\(name)/>") != nil)
        #expect(Self.parse("<\(name)n/>") == nil)
    }

    @Test("Mutated documents never crash and never hang", arguments: 0..<8 as Range<UInt64>)
    func mutations(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let document = Array(
            "<?xml version=\"1.0\"?><L xmlns='u'><!-- c --><K>a&amp;&#x41;b</K><![CDATA[d]]><E>&quot;t&quot;</E><D/></L>"
                .utf8)
        let alphabet = Array("<>/&;!?-[]'\"= x#\u{0}é".utf8)
        var accepted = 0
        for _ in 0..<4000 {
            var bytes = document
            for _ in 0...Int.random(in: 0..<4, using: &random) where !bytes.isEmpty {
                let position = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[position] = UInt8.random(in: .min ... .max, using: &random)
                case 1: bytes.remove(at: position)
                case 2: bytes.insert(alphabet.randomElement(using: &random) ?? 0, at: position)
                default: bytes.removeSubrange(position..<min(bytes.count, position + 20))
                }
            }
            if (try? XMLElement.parse(bytes)) != nil { accepted += 1 }
        }
        #expect(accepted > 0 && accepted < 4000, "seed \(seed)")
    }

    @Test(
        "Checksums",
        arguments: [
            ("", "1B2M2Y8AsgTpgAmY7PhCfg==", "AAAAAA==", "AAAAAA=="),
            ("abc", "kAFQmDzST7DWlj99KOF/cg==", "Nks/tw==", "NSRBwg=="),
            ("123456789", "JfnnlDI7RTiF9RgfG2JNCw==", "4waSgw==", "y/Q5Jg=="),
        ])
    func checksums(text: String, md5: String, castagnoli: String, ieee: String) {
        let bytes = Array(text.utf8)
        var hash = MD5()
        bytes.withUnsafeBytes { hash.update($0) }
        #expect(Base64.encode(hash.finish()) == md5)
        for (tables, expected) in [(CRC32.Tables.castagnoli, castagnoli), (.ieee, ieee)] {
            var sum = CRC32(tables)
            bytes.withUnsafeBytes { sum.update($0) }
            #expect(Base64.encode(sum.bytes) == expected)
        }
    }

    @Test("Checksums do not depend on how the bytes come", arguments: 0..<4 as Range<UInt64>)
    func pieces(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let bytes = random.bytes(5000)
        var (whole, wholeSum) = (MD5(), CRC32(.castagnoli))
        bytes.withUnsafeBytes {
            whole.update($0)
            wholeSum.update($0)
        }
        var (parts, partsSum) = (MD5(), CRC32(.castagnoli))
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = rest.prefix(Int.random(in: 1..<200, using: &random))
            piece.withUnsafeBytes {
                parts.update($0)
                partsSum.update($0)
            }
            rest = rest.dropFirst(piece.count)
        }
        #expect(parts.finish() == whole.finish() && partsSum.bytes == wholeSum.bytes, "seed \(seed)")
    }

    @Test(
        "Percent signs",
        arguments: [("a%2Fb%20c+d", "a/b c d"), ("%", "%"), ("%4", "%4"), ("%zz%41", "%zzA"), ("%C3%A9", "é")])
    func percent(encoded: String, plain: String) {
        #expect(PercentEncoding.decode(encoded) == plain)
    }

    @Test(
        "Content-Range",
        arguments: [
            ("bytes 0-9/100", true), ("bytes 0-9/*", true), ("bytes 9-0/100", false), ("bytes 0-100/100", false),
            ("bytes */100", false),
            ("0-9/100", false), ("bytes 0-9", false), ("bytes 0-18446744073709551615/*", false),
            ("bytes -9/100", false),
        ])
    func contentRange(text: String, isValid: Bool) {
        #expect((ContentRange.parse(text) != nil) == isValid)
    }
}
