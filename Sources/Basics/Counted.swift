/// `1 pack`, `3 packs`: a number with its noun, for messages. The plural is the noun with an `s` unless it is given.
package func counted(_ number: some BinaryInteger, _ noun: String, plural: String? = nil) -> String {
    "\(number) \(number == 1 ? noun : plural ?? noun + "s")"
}
