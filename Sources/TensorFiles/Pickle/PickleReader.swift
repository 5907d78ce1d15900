/// Reads a pickle (protocols 0 to 5) without running it: every call becomes a value that names what would be called.
///
/// Bounded by `PickleLimits`, whatever the pickle asks for. An opcode that does not exist ends the reading.
struct PickleReader {
    private var cursor: SourceCursor
    private let limits: PickleLimits
    private var graph = PickleGraph()
    private var stack: [PickleValue] = []
    /// Heights of the stack at its marks.
    private var marks: [Int] = []
    private var memo: [PickleValue] = []
    /// Entries whose numbers do not follow each other.
    private var sparseMemo: [UInt32: PickleValue] = [:]
    private var globalNumbers: [PickleGlobal: Int32] = [:]
    /// The container of every empty tuple: there are many, and none can change.
    private var emptyTuple: Int32?

    /// Reads one pickle from the cursor's place, and leaves the cursor behind it.
    static func read(_ cursor: inout SourceCursor, limits: PickleLimits) throws -> PickleGraph {
        var reader = PickleReader(cursor: cursor, limits: limits)
        try reader.run()
        cursor = reader.cursor
        return reader.graph
    }

    private init(cursor: SourceCursor, limits: PickleLimits) {
        self.cursor = cursor
        self.limits = limits
    }

    private mutating func run() throws {
        for _ in 0..<limits.opcodes {
            let code = try cursor.readByte()
            if code == UInt8(ascii: ".") {
                graph.root = try pop()
                return
            }
            guard stack.count < limits.stack, !graph.isFull(limits) else { throw tooMuch("values") }
            if try readScalar(code) { continue }
            if try readText(code) { continue }
            if try readContainer(code) { continue }
            if try readMemo(code) { continue }
            try readCall(code)
        }
        throw tooMuch("opcodes")
    }

    private func tooMuch(_ what: String) -> Stop {
        .unsupported("\(cursor.structure) has more \(what) than a reader here holds")
    }

    // MARK: the stack

    private var floor: Int { marks.last ?? 0 }

    private mutating func pop() throws -> PickleValue {
        guard stack.count > floor, let value = stack.popLast() else {
            throw cursor.damaged("the pickle takes a value that is not there")
        }
        return value
    }

    private mutating func popMark() throws -> ArraySlice<PickleValue> {
        guard let height = marks.popLast() else { throw cursor.damaged("the pickle takes a mark that is not there") }
        // A copy of these few: a slice of the stack would make it copy itself when it shrinks.
        let values = Array(stack[height...])
        stack.removeSubrange(height...)
        return values[...]
    }

    private mutating func push(_ value: PickleValue) { stack.append(value) }

    /// A number of bytes that follow, of which the file may not have as many.
    private mutating func skip(_ count: UInt64) throws {
        try cursor.skip(count)
        push(.opaque)
    }

    // MARK: numbers and constants

    private mutating func readScalar(_ code: UInt8) throws -> Bool {
        switch code {
        case UInt8(ascii: "N"): push(.none)
        case 0x88: push(.bool(true))
        case 0x89: push(.bool(false))
        case UInt8(ascii: "J"): push(.integer(Int32(bitPattern: try cursor.read(UInt32.self))))
        case UInt8(ascii: "K"): push(.integer(Int32(try cursor.readByte())))
        case UInt8(ascii: "M"): push(.integer(Int32(try cursor.read(UInt16.self))))
        case UInt8(ascii: "G"):
            // The only number in a pickle with its most significant byte first.
            push(float(Double(bitPattern: try cursor.read(UInt64.self).byteSwapped)))
        case 0x8a: try readLong(UInt64(try cursor.readByte()))
        case 0x8b: try readLong(UInt64(try cursor.read(UInt32.self)))
        case UInt8(ascii: "I"), UInt8(ascii: "L"), UInt8(ascii: "F"):
            guard let line = try readLine() else { return true }
            push(number(String(decoding: line, as: UTF8.self), code))
        // The protocol and a frame's length tell nothing that is needed.
        case 0x80: try cursor.skip(1)
        case 0x95: try cursor.skip(8)
        default: return false
        }
        return true
    }

    /// The number in a line of protocol 0.
    private mutating func number(_ line: String, _ code: UInt8) -> PickleValue {
        if code == UInt8(ascii: "F") { return Double(line).map { float($0) } ?? .opaque }
        if code == UInt8(ascii: "I"), line == "00" || line == "01" { return .bool(line == "01") }
        return Int64(line.last == "L" ? line.dropLast() : line[...]).map { integer($0) } ?? .opaque
    }

    private mutating func integer(_ value: Int64) -> PickleValue {
        if let small = Int32(exactly: value) { return .integer(small) }
        graph.wideIntegers.append(value)
        return .wideInteger(Int32(graph.wideIntegers.count - 1))
    }

    private mutating func float(_ value: Double) -> PickleValue {
        graph.floats.append(value)
        return .float(Int32(graph.floats.count - 1))
    }

    /// A two's complement of so many bytes, the least significant first.
    private mutating func readLong(_ count: UInt64) throws {
        guard count <= 8 else { return try skip(count) }
        let bytes = try cursor.readBytes(Int(count))
        let start: Int64 = (bytes.last ?? 0) & 0x80 == 0 ? 0 : -1
        push(integer(bytes.reversed().reduce(start) { $0 << 8 | Int64($1) }))
    }

    // MARK: text and bytes

    private mutating func readText(_ code: UInt8) throws -> Bool {
        switch code {
        case UInt8(ascii: "X"), UInt8(ascii: "T"): try keepText(UInt64(try cursor.read(UInt32.self)))
        case 0x8c, UInt8(ascii: "U"): try keepText(UInt64(try cursor.readByte()))
        case 0x8d: try keepText(try cursor.read(UInt64.self))
        // Of a line with escapes the escapes are kept: such texts name nothing that matters here.
        case UInt8(ascii: "S"):
            guard let line = try readLine() else { return true }
            push(try keep(line.count >= 2 ? Array(line.dropFirst().dropLast()) : line))
        case UInt8(ascii: "V"):
            guard let line = try readLine() else { return true }
            push(try keep(line))
        case UInt8(ascii: "B"): try skip(UInt64(try cursor.read(UInt32.self)))
        case UInt8(ascii: "C"): try skip(UInt64(try cursor.readByte()))
        case 0x8e, 0x96: try skip(try cursor.read(UInt64.self))
        case 0x97: push(.opaque)
        // Makes the buffer on top of the stack read-only.
        case 0x98: push(try pop())
        default: return false
        }
        return true
    }

    private mutating func keepText(_ count: UInt64) throws {
        guard count <= UInt64(limits.longestText) else { return try skip(count) }
        push(try keep(try cursor.readBytes(Int(count))))
    }

    private var notUTF8: Stop {
        .unsupported("\(cursor.structure) has a text that is not UTF-8 before byte \(cursor.offset)")
    }

    private mutating func keep(_ bytes: [UInt8]) throws -> PickleValue {
        guard graph.characters.count + bytes.count <= limits.textBytes else { throw tooMuch("text") }
        // Python takes surrogates here as well, which no name has.
        guard String(validating: bytes, as: UTF8.self) != nil else { throw notUTF8 }
        graph.texts.append(
            PickleGraph.Text(start: UInt32(graph.characters.count), count: UInt32(bytes.count)))
        graph.characters += bytes
        return .text(Int32(graph.texts.count - 1))
    }

    /// The bytes up to a newline, which is passed over. For a line that is too long to keep, pushes an opaque value and
    /// returns nil.
    private mutating func readLine() throws -> [UInt8]? {
        var line: [UInt8] = []
        var isTooLong = false
        while true {
            let byte = try cursor.readByte()
            if byte == 0x0a { break }
            isTooLong = isTooLong || line.count == limits.longestText
            if !isTooLong { line.append(byte) }
        }
        guard isTooLong else { return line }
        push(.opaque)
        return nil
    }

    /// A line that names something.
    private mutating func readName() throws -> String {
        guard let line = try readLine() else { throw tooMuch("characters in a name") }
        guard let name = String(validating: line, as: UTF8.self) else { throw notUTF8 }
        return name
    }

    // MARK: containers

    private mutating func readContainer(_ code: UInt8) throws -> Bool {
        switch code {
        case UInt8(ascii: "("):
            guard marks.count < limits.stack else { throw tooMuch("marks") }
            marks.append(stack.count)
        case UInt8(ascii: "0"):
            // Takes a mark where one is on top.
            if stack.count == floor, !marks.isEmpty { marks.removeLast() } else { _ = try pop() }
        case UInt8(ascii: "1"): _ = try popMark()
        case UInt8(ascii: "2"):
            let value = try pop()
            push(value)
            push(value)
        case UInt8(ascii: ")"): pushEmptyTuple()
        case UInt8(ascii: "]"): push(.list(graph.addContainer()))
        case UInt8(ascii: "}"): push(.dictionary(graph.addContainer()))
        case 0x8f: push(.set(graph.addContainer()))
        case 0x85, 0x86, 0x87: try collectTuple(Int(code) - 0x84)
        case UInt8(ascii: "t"): push(.tuple(try collect(try popMark())))
        case UInt8(ascii: "l"): push(.list(try collect(try popMark())))
        case 0x91: push(.set(try collect(try popMark())))
        case UInt8(ascii: "d"): push(.dictionary(try collect(try pairs(try popMark()))))
        case UInt8(ascii: "a"): try add([try pop()], asPairs: false)
        case UInt8(ascii: "e"), 0x90: try add(try popMark(), asPairs: false)
        case UInt8(ascii: "s"):
            let value = try pop()
            try add([try pop(), value], asPairs: true)
        case UInt8(ascii: "u"): try add(try pairs(try popMark()), asPairs: true)
        default: return false
        }
        return true
    }

    private mutating func pushEmptyTuple() {
        let index = emptyTuple ?? graph.addContainer()
        emptyTuple = index
        push(.tuple(index))
    }

    private func pairs(_ values: ArraySlice<PickleValue>) throws -> ArraySlice<PickleValue> {
        guard values.count.isMultiple(of: 2) else { throw cursor.damaged("the pickle has a key without a value") }
        return values
    }

    private mutating func collect(_ values: ArraySlice<PickleValue>) throws -> Int32 {
        let index = graph.addContainer()
        try append(values, to: index)
        return index
    }

    private mutating func append(_ values: ArraySlice<PickleValue>, to index: Int32) throws {
        guard graph.append(values, to: index, limit: limits.values) else { throw tooMuch("values") }
    }

    private mutating func collectTuple(_ count: Int) throws {
        guard stack.count - floor >= count else { throw cursor.damaged("the pickle takes a value that is not there") }
        let index = try collect(Array(stack.suffix(count))[...])
        stack.removeLast(count)
        push(.tuple(index))
    }

    /// Adds to the container that is on top of the stack and stays there.
    private mutating func add(_ values: ArraySlice<PickleValue>, asPairs: Bool) throws {
        guard stack.count > floor, let target = stack.last else {
            throw cursor.damaged("the pickle takes a value that is not there")
        }
        switch target {
        case .list(let index) where !asPairs, .set(let index) where !asPairs, .dictionary(let index) where asPairs:
            try append(values, to: index)
        case .object(let number):
            if graph.objects[Int(number)].items < 0 {
                graph.objects[Int(number)].items = graph.addContainer()
                graph.objects[Int(number)].hasPairs = asPairs
            }
            let object = graph.objects[Int(number)]
            guard object.hasPairs == asPairs else {
                throw Stop.unsupported("\(cursor.structure) adds both pairs and elements to one value")
            }
            try append(values, to: object.items)
        default: throw cursor.damaged("the pickle adds to what is no container")
        }
    }

    // MARK: the memo

    private mutating func readMemo(_ code: UInt8) throws -> Bool {
        switch code {
        case 0x94: try remember(UInt32(memo.count + sparseMemo.count))
        case UInt8(ascii: "q"): try remember(UInt32(try cursor.readByte()))
        case UInt8(ascii: "r"): try remember(try cursor.read(UInt32.self))
        case UInt8(ascii: "p"): try remember(try readIndex())
        case UInt8(ascii: "h"): try recall(UInt32(try cursor.readByte()))
        case UInt8(ascii: "j"): try recall(try cursor.read(UInt32.self))
        case UInt8(ascii: "g"): try recall(try readIndex())
        default: return false
        }
        return true
    }

    private mutating func readIndex() throws -> UInt32 {
        guard let index = UInt32(try readName()) else {
            throw cursor.damaged("a number in the memo expected")
        }
        return index
    }

    private mutating func remember(_ index: UInt32) throws {
        guard stack.count > floor, let value = stack.last else {
            throw cursor.damaged("the pickle takes a value that is not there")
        }
        guard memo.count + sparseMemo.count < limits.memo else { throw tooMuch("memo entries") }
        if index < memo.count {
            memo[Int(index)] = value
        } else if index == memo.count {
            memo.append(value)
        } else {
            sparseMemo[index] = value
        }
    }

    private mutating func recall(_ index: UInt32) throws {
        guard let value = index < memo.count ? memo[Int(index)] : sparseMemo[index] else {
            throw cursor.damaged("the pickle takes a memo entry that is not there")
        }
        push(value)
    }

    // MARK: what would run

    private mutating func readCall(_ code: UInt8) throws {
        switch code {
        case UInt8(ascii: "c"):
            let module = try readName()
            pushGlobal(module, try readName())
        case 0x93:
            let name = try pop()
            let module = try pop()
            guard let name = graph.text(name), let module = graph.text(module) else {
                throw cursor.damaged("the pickle names a class by what is no text")
            }
            pushGlobal(module, name)
        // REDUCE and NEWOBJ: a callable or class, and a tuple of arguments.
        case UInt8(ascii: "R"), 0x81:
            let arguments = try pop()
            pushObject(try pop(), arguments)
        case 0x92:
            _ = try pop()
            let arguments = try pop()
            pushObject(try pop(), arguments)
        case UInt8(ascii: "i"):
            let module = try readName()
            let name = try readName()
            let arguments = PickleValue.tuple(try collect(try popMark()))
            pushGlobal(module, name)
            pushObject(try pop(), arguments)
        case UInt8(ascii: "o"):
            let parts = try popMark()
            guard let callable = parts.first else { throw cursor.damaged("the pickle makes an instance of nothing") }
            pushObject(callable, .tuple(try collect(parts.dropFirst())))
        case UInt8(ascii: "b"):
            let state = try pop()
            guard stack.count > floor, let target = stack.last else {
                throw cursor.damaged("the pickle takes a value that is not there")
            }
            if case .object(let number) = target { graph.objects[Int(number)].state = state }
        case UInt8(ascii: "P"): pushPersistent(try keep(Array(try readName().utf8)))
        case UInt8(ascii: "Q"): pushPersistent(try pop())
        default:
            throw Stop.unsupported("\(cursor.structure) has the opcode \(code) at byte \(cursor.offset - 1)")
        }
    }

    private mutating func pushGlobal(_ module: String, _ name: String) {
        let global = PickleGlobal(module, name)
        if let number = globalNumbers[global] { return push(.global(number)) }
        let number = Int32(graph.globals.count)
        graph.globals.append(global)
        globalNumbers[global] = number
        push(.global(number))
    }

    private mutating func pushObject(_ callable: PickleValue, _ arguments: PickleValue) {
        graph.objects.append(PickleGraph.Object(callable: callable, arguments: arguments))
        push(.object(Int32(graph.objects.count - 1)))
    }

    private mutating func pushPersistent(_ id: PickleValue) {
        graph.persistents.append(id)
        push(.persistent(Int32(graph.persistents.count - 1)))
    }
}
