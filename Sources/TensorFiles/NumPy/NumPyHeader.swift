/// The header of an `.npy` file: a magic, a version, and a Python dictionary of three entries in ASCII.
struct NumPyHeader {
    var dtype: TensorDType
    var shape: [UInt64]
    /// Whether the first dimension changes fastest.
    var isFortran: Bool
    /// Whether numbers have their most significant byte first.
    var isBigEndian: Bool
    /// Bytes from the file's start to the first element.
    var dataStart: UInt64

    static let magic: [UInt8] = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]

    /// Reads the header at the start of `source`.
    static func read(_ source: any TensorByteSource, _ limits: TensorFileLimits) throws -> NumPyHeader {
        guard try source.prefix(6) == magic else { throw Stop.notThisFormat("no npy magic at the start") }
        var cursor = SourceCursor(source, 0..<source.size, ending: .endOfFile, structure: "the npy header")
        try cursor.skip(6)
        let version = try cursor.readByte()
        _ = try cursor.readByte()
        guard (1...3).contains(version) else { throw Stop.unsupported("npy version \(version)") }
        let count = version == 1 ? UInt64(try cursor.read(UInt16.self)) : UInt64(try cursor.read(UInt32.self))
        // NumPy itself refuses headers of more than 10,000 bytes unless told otherwise.
        guard count <= 65_536 else { throw Stop.unsupported("an npy header of \(count) bytes") }
        var literal = PythonLiteral(try cursor.readBytes(Int(count)))
        var header = NumPyHeader(dtype: .u8, shape: [], isFortran: false, isBigEndian: false, dataStart: cursor.offset)
        try header.take(&literal, limits)
        return header
    }

    private mutating func take(_ literal: inout PythonLiteral, _ limits: TensorFileLimits) throws {
        var found: Set<String> = []
        try literal.expect("{")
        while !literal.takes("}") {
            let key = try literal.text()
            try literal.expect(":")
            switch key {
            case "descr": try takeType(try literal.text())
            case "fortran_order": isFortran = try literal.bool()
            case "shape": shape = try literal.numbers(atMost: limits.dimensions)
            default: throw Stop.damaged("the npy header has an entry \"\(key)\"")
            }
            found.insert(key)
            if !literal.takes(",") {
                try literal.expect("}")
                break
            }
        }
        try literal.expectEnd()
        guard found.count == 3 else { throw Stop.damaged("the npy header lacks an entry") }
    }

    private mutating func takeType(_ text: String) throws {
        var rest = Substring(text)
        guard let order = rest.popFirst(), "<>|=".contains(order), let kind = rest.popFirst(),
            let size = Int(rest), (1...4096).contains(size)
        else { throw Stop.unsupported("the npy type \(text)") }
        isBigEndian = order == ">"
        switch (kind, size) {
        case ("b", 1): dtype = .bool
        case ("i", 1): dtype = .i8
        case ("i", 2): dtype = .i16
        case ("i", 4): dtype = .i32
        case ("i", 8): dtype = .i64
        case ("u", 1): dtype = .u8
        case ("u", 2): dtype = .u16
        case ("u", 4): dtype = .u32
        case ("u", 8): dtype = .u64
        case ("f", 2): dtype = .f16
        case ("f", 4): dtype = .f32
        case ("f", 8): dtype = .f64
        case ("c", 8): dtype = .c64
        case ("c", 16): dtype = .c128
        // Text of four bytes a character; bytes and types that NumPy does not know, such as bfloat16, by their size.
        case ("U", _): dtype = .other(name: "U\(size)", elementBytes: 4 * size)
        case ("S", _), ("V", _), ("f", 16), ("c", 32), ("M", 8), ("m", 8):
            dtype = .other(name: "\(kind)\(size)", elementBytes: size)
        default: throw Stop.unsupported("the npy type \(text)")
        }
    }
}

/// Reads the few Python literals of an npy header.
private struct PythonLiteral {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    private var damaged: Stop { .unsupported("the npy header is no plain dictionary at its byte \(position)") }

    private mutating func skipSpace() {
        while position < bytes.count, bytes[position] == 0x20 || bytes[position] == 0x0a { position += 1 }
    }

    /// Whether `character` comes next; passes over it then.
    mutating func takes(_ character: Unicode.Scalar) -> Bool {
        skipSpace()
        guard position < bytes.count, UInt32(bytes[position]) == character.value else { return false }
        position += 1
        return true
    }

    mutating func expect(_ character: Unicode.Scalar) throws {
        guard takes(character) else { throw damaged }
    }

    /// NumPy pads with spaces and ends with a newline.
    mutating func expectEnd() throws {
        skipSpace()
        guard position == bytes.count else { throw damaged }
    }

    private mutating func word(_ isPart: (UInt8) -> Bool) -> String {
        skipSpace()
        let start = position
        while position < bytes.count, isPart(bytes[position]) { position += 1 }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    /// A text without escapes.
    mutating func text() throws -> String {
        let quote: UInt8 = takes("'") ? 0x27 : 0x22
        if quote == 0x22 { try expect("\"") }
        let start = position
        while position < bytes.count, bytes[position] != quote, bytes[position] != 0x5c { position += 1 }
        guard position < bytes.count, bytes[position] == quote else { throw damaged }
        defer { position += 1 }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    mutating func bool() throws -> Bool {
        switch word({ (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) }) {
        case "True": return true
        case "False": return false
        default: throw damaged
        }
    }

    /// A tuple of whole numbers. Python 2 wrote some with an L behind.
    mutating func numbers(atMost maximum: Int) throws -> [UInt64] {
        var numbers: [UInt64] = []
        try expect("(")
        while !takes(")") {
            guard let number = UInt64(word { (0x30...0x39).contains($0) }), numbers.count < maximum else {
                throw damaged
            }
            _ = takes("L")
            numbers.append(number)
            if !takes(",") {
                try expect(")")
                break
            }
        }
        return numbers
    }
}
