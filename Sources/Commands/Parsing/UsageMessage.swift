internal import ArgumentParser

/// What is wrong with a command line, where the parser's own words lead astray.
package enum UsageMessage {
    /// The parser's message without its guess at an unknown option, unless the two are really much alike.
    package static func withoutFarGuess(_ message: String) -> String {
        guard let lead = message.firstRange(of: "'. Did you mean '"),
            let quote = message[..<lead.lowerBound].lastIndex(of: "'"),
            let end = message[lead.upperBound...].firstRange(of: "'?")
        else { return message }
        let typed = message[message.index(after: quote)..<lead.lowerBound].drop { $0 == "-" }
        let guess = message[lead.upperBound..<end.lowerBound].drop { $0 == "-" }
        // Half of the letters may be wrong.
        if distance(Array(typed), Array(guess)) <= max(1, typed.count / 2) { return message }
        return "\(message[..<lead.lowerBound])'\(message[end.upperBound...])"
    }

    /// What to say to somebody who gave options before the command; nil when that is not the case.
    package static func optionsFirst(_ arguments: [String]) -> String? {
        guard let first = arguments.first, first.hasPrefix("-") else { return nil }
        let names = Set(BecalmCommand.configuration.subcommands.compactMap { $0.configuration.commandName })
        guard let position = arguments.firstIndex(where: { names.contains($0) }) else { return nil }
        let command = arguments[position...].prefix { !$0.hasPrefix("-") }.prefix(arguments[position] == "key" ? 2 : 1)
        let option = first.prefix { $0 != "=" }
        return "options stand behind the command: becalm \(command.joined(separator: " ")) \(option)"
    }

    /// Letters to insert, remove or change to make one of the other (Levenshtein).
    private static func distance(_ left: [Character], _ right: [Character]) -> Int {
        var row = Array(0...right.count)
        for (i, letter) in left.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, other) in right.enumerated() {
                let change = diagonal + (letter == other ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(change, row[j] + 1, row[j + 1] + 1)
            }
        }
        return row[right.count]
    }
}
