internal import ArgumentParser
internal import FoundationEssentials
internal import Orchestration

/// The manual page in roff (man(7)), made from the same declarations as the help.
enum ManualPage {
    /// What the parser tells of its commands (ArgumentParserToolInfo, version 0), as far as it is used here.
    private struct Tool: Decodable {
        var command: Command
    }

    private struct Command: Decodable {
        var commandName: String
        var abstract: String?
        var discussion: String?
        var shouldDisplay: Bool?
        var subcommands: [Command]?
        var arguments: [Argument]?
    }

    private struct Argument: Decodable {
        var kind: String
        var shouldDisplay: Bool
        var isOptional: Bool
        var isRepeating: Bool
        var names: [Name]?
        var valueName: String?
        var abstract: String?
        var defaultValue: String?
    }

    private struct Name: Decodable {
        var kind: String
        var name: String

        var text: String { kind == "long" ? "--\(name)" : "-\(name)" }
    }

    /// The page. Throws when the parser describes itself in a form that this does not know.
    static func render() throws -> String {
        let tool = try JSONDecoder().decode(Tool.self, from: Data(BecalmCommand._dumpHelp().utf8))
        let commands = leaves(tool.command, [])
        let shared = sharedNames(commands.map(\.command))
        var page = [
            ".TH BECALM 1 \"\" \"\(Version.program)\" \"User Commands\"", ".SH NAME",
            "becalm \\- \(escape(tool.command.abstract ?? ""))", ".SH SYNOPSIS", ".B becalm",
            "\\fIcommand\\fR [\\fIoptions\\fR]",
            ".SH DESCRIPTION",
        ]
        page += text(tool.command.discussion)
        page.append(".SH COMMANDS")
        for (path, command) in commands {
            page += section(path, command, leavingOut: shared)
        }
        page.append(".SH COMMON OPTIONS")
        let common = commands.first?.command.arguments?.filter { shared.contains(key($0)) } ?? []
        page += common.flatMap(option)
        page += environment + exitCodes
        return page.joined(separator: "\n")
    }

    /// The commands that do something, with their full names.
    private static func leaves(_ command: Command, _ path: [String]) -> [(path: String, command: Command)] {
        guard command.shouldDisplay ?? true, command.commandName != "help" else { return [] }
        let path = path + [command.commandName]
        let subcommands = (command.subcommands ?? []).filter { $0.commandName != "help" }
        if subcommands.isEmpty { return [(path.joined(separator: " "), command)] }
        return subcommands.flatMap { leaves($0, path) }
    }

    private static func key(_ argument: Argument) -> String {
        argument.names?.map(\.text).joined(separator: " ") ?? "<\(argument.valueName ?? "")>"
    }

    /// Options that all commands have: they are described once.
    private static func sharedNames(_ commands: [Command]) -> Set<String> {
        let sets = commands.map { Set(($0.arguments ?? []).filter { $0.kind != "positional" }.map(key)) }
        guard let first = sets.first else { return [] }
        return sets.dropFirst().reduce(first) { $0.intersection($1) }
    }

    private static func section(_ path: String, _ command: Command, leavingOut shared: Set<String>) -> [String] {
        let own = (command.arguments ?? []).filter { $0.shouldDisplay && !shared.contains(key($0)) }
        let synopsis = own.filter { $0.kind == "positional" }.map { argument in
            let name = "\\fI\(escape(argument.valueName ?? ""))\\fR" + (argument.isRepeating ? " ..." : "")
            return argument.isOptional ? "[\(name)]" : name
        }
        var lines = [
            ".SS \"\(escape(path))\"", ".B \(escape(path))", (["[\\fIoptions\\fR]"] + synopsis).joined(separator: " "),
        ]
        lines.append(".PP")
        lines += text(command.abstract)
        lines.append(".PP")
        lines += text(command.discussion)
        return lines + own.flatMap(option)
    }

    private static func option(_ argument: Argument) -> [String] {
        let value = argument.kind == "flag" ? "" : " \\fI\(escape(argument.valueName ?? "value"))\\fR"
        let names = (argument.names ?? []).sorted { $0.kind != "long" && $1.kind == "long" }
            .map { "\\fB\(escape($0.text))\\fR" }.joined(separator: ", ")
        let tail = argument.defaultValue.map { " Default: \($0)." } ?? ""
        return [".TP", names.isEmpty ? "\\fI\(escape(argument.valueName ?? ""))\\fR" : names + value]
            + text((argument.abstract ?? "") + tail)
    }

    private static let environment =
        [".SH ENVIRONMENT"]
        + [
            ("BECALM_REPOSITORY", "Where the repository is, without --repository."),
            (
                "BECALM_PASSWORD, BECALM_PASSWORD_FILE, BECALM_PASSWORD_COMMAND",
                "The password, a file with it, or a command that prints it and is run by /bin/sh."
            ),
            (
                "BECALM_NEW_PASSWORD, BECALM_NEW_PASSWORD_FILE, BECALM_NEW_PASSWORD_COMMAND",
                "The same for the password that is being set."
            ),
            (
                "BECALM_SIGN_PASSWORD, BECALM_SIGN_PASSWORD_FILE, BECALM_SIGN_PASSWORD_COMMAND",
                "The same for the key that signs a manifest."
            ),
            ("BECALM_CACHE_DIR", "Where copies of the index are kept, without --cache-dir."),
            (
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL_S3, AWS_CA_BUNDLE, ...",
                "As the AWS command line takes them."
            ),
        ].flatMap { [".TP", "\\fB\(escape($0.0))\\fR", escape($0.1)] }

    private static let exitCodes =
        [".SH EXIT STATUS"]
        + [
            ("0", "done"), ("1", "failed"), ("3", "partial: some sources or files could not be dealt with"),
            ("10", "no repository"), ("11", "busy: somebody else is at work on it"), ("12", "wrong key"),
            ("13", "integrity: stored data is damaged"), ("14", "the storage refused the credentials"),
            ("15", "the storage cannot be reached"), ("16", "no space"),
            ("21", "a checkpoint that matters is torn, or none is complete"),
            ("64", "usage: the command line makes no sense, or names a snapshot, path or key that is not there"),
            ("130, 143", "interrupted, terminated"),
        ].flatMap { [".TP", "\\fB\($0.0)\\fR", escape($0.1)] }

    /// Paragraphs as they are; lines that begin with spaces are examples and keep their form.
    private static func text(_ text: String?) -> [String] {
        var lines: [String] = []
        var isExample = false
        for line in (text ?? "").split(separator: "\n", omittingEmptySubsequences: false) {
            let indented = line.hasPrefix("  ")
            if indented != isExample { lines.append(indented ? ".RS\n.nf" : ".fi\n.RE") }
            isExample = indented
            lines.append(line.isEmpty ? ".PP" : escape(indented ? String(line.drop { $0 == " " }) : String(line)))
        }
        if isExample { lines.append(".fi\n.RE") }
        return lines
    }

    /// Nothing in it means anything to roff.
    private static func escape(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "\\": result += "\\e"
            case "-": result += "\\-"
            case "'" where result.isEmpty: result += "\\(aq"
            case "." where result.isEmpty: result += "\\&."
            case "…": result += "..."
            case "\n": result += " "
            default: result.append(character)
            }
        }
        return result
    }
}
