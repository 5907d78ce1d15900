/// The `Warning` headers of the API (RFC 7234, section 5.5): `299 - "unknown field \"spec.x\""`.
enum WarningHeader {
    /// The texts of a header's value, which may hold several, parted by commas.
    static func texts(of value: String) -> [String] {
        var texts: [String] = []
        var text: String?
        var isEscaped = false
        for character in value {
            guard let begun = text else {
                if character == "\"" { text = "" }
                continue
            }
            if isEscaped {
                text = begun + String(character)
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else if character == "\"" {
                // A date may follow in quotes; servers of the API send none.
                texts.append(begun)
                text = nil
            } else {
                text = begun + String(character)
            }
        }
        return texts
    }

    /// The field that a warning says is unknown; nil when it says something else. The words are those of Kubernetes' strict
    /// decoder, for built-in and custom kinds alike.
    static func unknownField(_ text: String) -> String? {
        let start = "unknown field \""
        guard text.hasPrefix(start), text.hasSuffix("\""), text.count > start.count + 1 else { return nil }
        return String(text.dropFirst(start.count).dropLast())
    }
}
