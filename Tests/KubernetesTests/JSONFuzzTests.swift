import Kubernetes
import Testing

/// Random values and random damage; the seed is in each failure's arguments.
@Suite("JSON trees, fuzzed")
struct JSONFuzzTests {
    static let characters = Array("ab\"\\/<>&\u{0}\u{1f}\u{7f}\n\té😀\u{2028}\u{2029}\u{fffd}e\u{301} ")

    private func value(_ random: inout SeededGenerator, depth: Int, nulls: Bool = true) -> JSONValue {
        switch Int.random(in: 0..<(depth > 0 ? 7 : 4), using: &random) {
        case 0: nulls ? .null : .bool(true)
        case 1: .bool(Bool.random(using: &random))
        case 2:
            .number(
                JSONNumber(["0", "-0", "1.50", "1e9", "18446744073709551616"].randomElement(using: &random) ?? "")
                    ?? JSONNumber(1))
        case 3: .string(string(&random))
        case 4: .array((0..<Int.random(in: 0..<4, using: &random)).map { _ in value(&random, depth: depth - 1) })
        default: object(&random, depth: depth, nulls: nulls)
        }
    }

    private func object(_ random: inout SeededGenerator, depth: Int, nulls: Bool) -> JSONValue {
        var object = JSONObject()
        if Bool.random(using: &random) {
            object["z"] = 1
            object["a"] = 2
        }
        for _ in 0..<Int.random(in: 0..<6, using: &random) {
            object[string(&random)] = value(&random, depth: depth - 1, nulls: nulls)
        }
        return .object(object)
    }

    private func string(_ random: inout SeededGenerator) -> String {
        String(
            (0..<Int.random(in: 0..<5, using: &random)).compactMap { _ in Self.characters.randomElement(using: &random)
            })
    }

    @Test("What is written is read as the same, and written the same again", arguments: 0..<300)
    func roundTrip(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let value = value(&random, depth: 5)
        let text = value.serialized()
        let read = try JSONValue(parsing: text)
        #expect(read == value)
        #expect(read.serialized() == text)
    }

    @Test("A created patch makes the target of the source", arguments: 0..<300)
    func patches(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let source = object(&random, depth: 4, nulls: true)
        let target = object(&random, depth: 4, nulls: false)
        let patch = try MergePatch.create(from: source, to: target)
        #expect(MergePatch.apply(patch, to: source) == target)
        #expect(try MergePatch.create(from: target, to: target) == [:])
    }

    @Test("Damaged text is refused or read, never fatal, and what is read is written as itself", arguments: 0..<300)
    func damage(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let whole = object(&random, depth: 4, nulls: true).serialized()
        for _ in 0..<50 {
            var text = whole
            for _ in 0..<Int.random(in: 1...3, using: &random) where !text.isEmpty {
                let place = Int.random(in: 0..<text.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: text.remove(at: place)
                case 1: text[place] = UInt8.random(in: 0...255, using: &random)
                case 2: text.insert(Array("{}[]\",:\\u0e-.".utf8).randomElement(using: &random) ?? 0, at: place)
                default: text.removeSubrange(place...)
                }
            }
            do {
                let value = try JSONValue(parsing: text)
                #expect(try JSONValue(parsing: value.serialized()) == value)
            } catch {
                #expect((0...text.count).contains(error.offset), "\(error)")
            }
        }
    }

    @Test("Random selectors' text is refused or read, never fatal", arguments: 0..<100)
    func selectors(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let pieces = ["a", "b/c", " ", "in", "notin", "(", ")", ",", "=", "==", "!=", "!", ">", "5", "é", "\n", "-"]
        for _ in 0..<50 {
            let text = (0..<Int.random(in: 0..<9, using: &random)).compactMap { _ in
                pieces.randomElement(using: &random)
            }
            .joined()
            guard let selector = try? LabelSelector(parsing: text) else { continue }
            #expect(try LabelSelector(parsing: selector.description) == selector, "\(text)")
        }
    }
}
