/// `1 pack`, `3 packs`: a number with its noun, for messages.
package func counted(_ number: some BinaryInteger, _ noun: String) -> String {
    "\(number) \(noun)\(number == 1 ? "" : "s")"
}
