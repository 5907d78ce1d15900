/// A file name of the form `NAME-00001-of-00005.SUFFIX`, which safetensors, GGUF and PyTorch sets share.
package struct ShardName: Hashable, Sendable {
    /// What stands before the number.
    package let stem: String
    /// From 1, at most `count`.
    package let number: Int
    /// Files in the set.
    package let count: Int
    /// What stands behind the count, with its dot: `.safetensors`.
    package let suffix: String
    private let digits: Int

    /// The parts of a name, or nil for a name of another form.
    package init?(_ name: String) {
        // From the end, for the stem may look alike: `a-00001-of-00002-00001-of-00003.gguf`.
        guard let dash = name.ranges(of: "-of-").last else { return nil }
        let behind = name[dash.upperBound...]
        let countDigits = behind.prefix { $0.isASCII && $0.isNumber }
        let before = name[..<dash.lowerBound]
        guard let hyphen = before.lastIndex(of: "-") else { return nil }
        let numberDigits = before[before.index(after: hyphen)...]
        guard (1...9).contains(countDigits.count), countDigits.count == numberDigits.count,
            numberDigits.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int(numberDigits),
            let count = Int(countDigits), number >= 1, number <= count
        else { return nil }
        stem = String(before[..<hyphen])
        self.number = number
        self.count = count
        suffix = String(behind.dropFirst(countDigits.count))
        digits = countDigits.count
    }

    /// The name of file `number` of the set, from 1.
    package func sibling(_ number: Int) -> String {
        "\(stem)-\(padded(number))-of-\(padded(count))\(suffix)"
    }

    private func padded(_ number: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(digits - text.count, 0)) + text
    }
}
