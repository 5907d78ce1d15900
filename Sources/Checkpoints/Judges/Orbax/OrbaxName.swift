/// The name of a step's directory, as Orbax makes and finds it (`_StandardNameFormat`): `20`, `0020`, `step_20`.
struct OrbaxName: Hashable {
    /// What a name contains while it is being written (`TMP_DIR_SUFFIX`).
    static let temporary = ".orbax-checkpoint-tmp"

    /// With its underscore; "" without one.
    let prefix: String
    let step: Int64

    /// The parts of a name, or nil for one of another form.
    init?(_ name: String) {
        let digits = name.utf8.reversed().prefix { (0x30...0x39).contains($0) }.count
        let stem = name.utf8.dropLast(digits)
        guard (1...18).contains(digits), stem.isEmpty || stem.last == UInt8(ascii: "_"),
            let step = Int64(Substring(name.utf8.suffix(digits)))
        else { return nil }
        prefix = String(Substring(stem))
        self.step = step
    }

    /// The name without what marks it as temporary, with a time behind that or without; nil when it is not temporary.
    static func withoutTemporary(_ name: String) -> String? {
        name.firstRange(of: temporary).map { String(name[..<$0.lowerBound]) }
    }
}
