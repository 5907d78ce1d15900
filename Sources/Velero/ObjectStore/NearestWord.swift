/// Which of some words a misspelt one was meant to be.
enum NearestWord {
    /// The word with the fewest changed, added and left-out letters, regardless of case; nil when more than a third differs.
    static func find(_ text: String, among words: [String]) -> String? {
        let wanted = Array(text.lowercased().utf8)
        let ranked = words.map { (word: $0, distance: distance(wanted, Array($0.lowercased().utf8))) }
        guard let best = ranked.min(by: { ($0.distance, $0.word) < ($1.distance, $1.word) }) else { return nil }
        return best.distance * 3 <= max(wanted.count, 3) ? best.word : nil
    }

    /// Levenshtein's distance, row by row.
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var row = Array(0...right.count)
        for (index, byte) in left.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for (column, other) in right.enumerated() {
                let substituted = diagonal + (byte == other ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(substituted, row[column] + 1, diagonal + 1)
            }
        }
        return row[right.count]
    }
}
