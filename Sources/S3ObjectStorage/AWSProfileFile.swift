/// The shared `config` and `credentials` files: sections of `name = value`, settings under a setting indented.
enum AWSProfileFile {
    /// Settings by profile; those of the credentials file win. A nested setting is named `outer.inner`.
    static func profiles(config: String?, credentials: String?) -> [String: [String: String]] {
        var profiles: [String: [String: String]] = [:]
        for (section, settings) in parse(config ?? "") {
            let words = section.split(whereSeparator: { $0 == " " || $0 == "\t" })
            let name: String
            if words == ["default"] {
                name = "default"
            } else if words.count == 2, words[0] == "profile" {
                name = String(words[1])
            } else {
                continue  // sso-session, services
            }
            profiles[name, default: [:]].merge(settings) { _, new in new }
        }
        for (section, settings) in parse(credentials ?? "") {
            profiles[section, default: [:]].merge(settings) { _, new in new }
        }
        return profiles
    }

    private static func parse(_ text: String) -> [(section: String, settings: [String: String])] {
        var sections: [(section: String, settings: [String: String])] = []
        var outer: String?
        for line in text.split(whereSeparator: \.isNewline) {
            let trimmed = trim(line)
            guard let first = trimmed.first, first != "#", first != ";" else { continue }
            if first == "[", let end = trimmed.firstIndex(of: "]") {
                sections.append((trim(trimmed.dropFirst().prefix(upTo: end)), [:]))
                outer = nil
                continue
            }
            guard !sections.isEmpty, let equals = trimmed.firstIndex(of: "=") else { continue }
            let name = trim(trimmed[..<equals]).lowercased()
            let value = trim(trimmed[trimmed.index(after: equals)...])
            let isIndented = line.first == " " || line.first == "\t"
            if isIndented, let outer {
                sections[sections.count - 1].settings["\(outer).\(name)"] = value
            } else {
                outer = value.isEmpty ? name : nil
                sections[sections.count - 1].settings[name] = value
            }
        }
        return sections
    }

    private static func trim(_ text: some StringProtocol) -> String {
        let start = text.drop { $0 == " " || $0 == "\t" }
        guard let last = start.lastIndex(where: { $0 != " " && $0 != "\t" }) else { return "" }
        return String(start[...last])
    }
}
