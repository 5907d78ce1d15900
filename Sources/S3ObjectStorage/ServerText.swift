/// What a server says, made fit for one line of a message.
enum ServerText {
    /// At most 300 characters of `text`, control characters and line breaks replaced by spaces.
    static func line(_ text: String) -> String {
        let words = text.split { character in
            character.isWhitespace || character.unicodeScalars.contains { $0.properties.generalCategory == .control }
        }
        let line = words.joined(separator: " ")
        return line.count > 300 ? "\(line.prefix(300))..." : line
    }
}
