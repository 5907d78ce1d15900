/// What a pickle describes: values that name what they would be, and nothing that was run.
package struct PickleGraph: Sendable {
    /// A text's bytes in `characters`.
    struct Text {
        var start: UInt32
        var count: UInt32
    }

    /// A container's values in `pool`. Pairs lie key, value, key, value.
    struct Container {
        var start: Int32
        var count: Int32
        var capacity: Int32
    }

    /// What a call or an instance is made of.
    package struct Object: Sendable {
        /// What would be called, mostly a `global`.
        package var callable: PickleValue
        /// With what, mostly a `tuple`.
        package var arguments: PickleValue
        /// The state that it would be given afterwards (`__setstate__`), or `none`.
        package var state: PickleValue = .none
        /// Elements or pairs added afterwards, -1 without any; see `Object.hasPairs`.
        var items: Int32 = -1
        var hasPairs = false
    }

    /// The value that the pickle is of.
    package internal(set) var root: PickleValue = .none
    var pool: [PickleValue] = []
    var containers: [Container] = []
    var objects: [Object] = []
    var globals: [PickleGlobal] = []
    var persistents: [PickleValue] = []
    var wideIntegers: [Int64] = []
    var floats: [Double] = []
    var texts: [Text] = []
    var characters: [UInt8] = []

    /// The ids of all that the pickle leaves to its loader, in the order of the pickle.
    package var persistentIDs: [PickleValue] { persistents }

    /// The characters of a text; nil for any other value.
    package func text(_ value: PickleValue?) -> String? {
        guard case .text(let index) = value else { return nil }
        return String(decoding: bytes(index), as: UTF8.self)
    }

    private func bytes(_ text: Int32) -> ArraySlice<UInt8> {
        let text = texts[Int(text)]
        return characters[Int(text.start)..<Int(text.start) + Int(text.count)]
    }

    /// A whole number; nil for any other value.
    package func integer(_ value: PickleValue?) -> Int64? {
        switch value {
        case .integer(let number): Int64(number)
        case .wideInteger(let index): wideIntegers[Int(index)]
        default: nil
        }
    }

    /// A number with a fraction; nil for any other value.
    package func float(_ value: PickleValue?) -> Double? {
        if case .float(let index) = value { floats[Int(index)] } else { nil }
    }

    /// A whole number that is not negative; nil for any other value.
    package func unsigned(_ value: PickleValue?) -> UInt64? { integer(value).flatMap { UInt64(exactly: $0) } }

    /// The class or function; nil for any other value.
    package func global(_ value: PickleValue?) -> PickleGlobal? {
        if case .global(let index) = value { globals[Int(index)] } else { nil }
    }

    /// The parts of a call or instance; nil for any other value.
    package func object(_ value: PickleValue?) -> Object? {
        if case .object(let index) = value { objects[Int(index)] } else { nil }
    }

    /// The id of a persistent value; nil for any other.
    package func persistentID(_ value: PickleValue?) -> PickleValue? {
        if case .persistent(let index) = value { persistents[Int(index)] } else { nil }
    }

    /// The elements of a tuple, a list, a set, or an object that elements were added to; nil for any other value.
    package func elements(_ value: PickleValue?) -> ArraySlice<PickleValue>? {
        switch value {
        case .tuple(let index), .list(let index), .set(let index): return contents(index)
        case .object(let index):
            let object = objects[Int(index)]
            return object.hasPairs || object.items < 0 ? nil : contents(object.items)
        default: return nil
        }
    }

    /// The keys and values of a dictionary, or of an object that pairs were added to (an `OrderedDict`), as key, value,
    /// key, value; nil for any other value.
    package func pairs(_ value: PickleValue?) -> ArraySlice<PickleValue>? {
        switch value {
        case .dictionary(let index): return contents(index)
        case .object(let index):
            let object = objects[Int(index)]
            guard object.items >= 0 else {
                // An empty one has no items to show what it is.
                return global(object.callable) == Self.orderedDictionary ? [] : nil
            }
            return object.hasPairs ? contents(object.items) : nil
        default: return nil
        }
    }

    private static let orderedDictionary = PickleGlobal("collections", "OrderedDict")

    private func contents(_ index: Int32) -> ArraySlice<PickleValue> {
        let container = containers[Int(index)]
        return pool[Int(container.start)..<Int(container.start) + Int(container.count)]
    }

    /// The value under a textual key of a dictionary, or of an object's state: the last one, as for Python.
    ///
    /// Looks at every key: for dictionaries of a few entries.
    package func value(_ key: String, of value: PickleValue?) -> PickleValue? {
        if let pairs = pairs(value) {
            var index = pairs.endIndex
            while index > pairs.startIndex {
                index -= 2
                if case .text(let text) = pairs[index], bytes(text).elementsEqual(key.utf8) { return pairs[index + 1] }
            }
        }
        guard let state = object(value)?.state, case .dictionary = state else { return nil }
        return self.value(key, of: state)
    }
}

extension PickleGraph {
    /// Whether another opcode could take the graph beyond a limit that `append` does not hold.
    func isFull(_ limits: PickleLimits) -> Bool {
        max(containers.count, texts.count) >= limits.containers
            || max(objects.count, globals.count, persistents.count, wideIntegers.count, floats.count) >= limits.objects
    }

    /// Adds an empty container and returns its number.
    mutating func addContainer() -> Int32 {
        containers.append(Container(start: Int32(pool.count), count: 0, capacity: 0))
        return Int32(containers.count - 1)
    }

    /// Adds values to the end of a container. False when the pool would hold more than `limit` values.
    ///
    /// Values lie in one pool. A container at its end grows in place; another moves there, into twice the space, so that
    /// any mixture of additions costs a constant time for each.
    mutating func append(_ values: ArraySlice<PickleValue>, to index: Int32, limit: Int) -> Bool {
        var container = containers[Int(index)]
        let old = Int(container.start)..<Int(container.start) + Int(container.count)
        let count = old.count + values.count
        if Int(container.start) + Int(container.capacity) == pool.count {
            guard Int(container.start) + count <= limit else { return false }
            pool.removeLast(Int(container.capacity) - old.count)
            pool += values
            container.capacity = Int32(count)
        } else if count <= Int(container.capacity) {
            for (place, value) in zip(old.upperBound..., values) { pool[place] = value }
        } else {
            guard pool.count + 2 * count <= limit else { return false }
            container.start = Int32(pool.count)
            for place in old { pool.append(pool[place]) }
            pool += values
            container.capacity = Int32(2 * count)
            pool.append(contentsOf: repeatElement(.none, count: count))
        }
        container.count = Int32(count)
        containers[Int(index)] = container
        return true
    }
}
