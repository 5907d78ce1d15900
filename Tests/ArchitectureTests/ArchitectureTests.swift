import Testing

/// Holds the rules of the house on the package's own sources.
@Suite("Architecture")
struct ArchitectureTests {
    private func report(_ violations: [Violation]) {
        for violation in violations { Issue.record("\(violation.description)") }
    }

    @Test("Each target imports only what the design allows")
    func imports() throws {
        let files = try SourceFile.all(below: "Sources")
        #expect(files.count > 50, "the sources were not found below \(SourceFile.packageRoot)")
        for file in files {
            report(Rules.imports(file, rows: ImportTable.rows, undecided: ImportTable.undecided))
        }
    }

    @Test("Every undecided arrow is still there")
    func undecided() throws {
        let files = try SourceFile.all(below: "Sources")
        for (target, modules) in ImportTable.undecided {
            let used = Set(files.filter { $0.target == target }.flatMap { Rules.importedModules($0).map(\.module) })
            for module in modules.subtracting(used) {
                Issue.record("nothing in \(target) imports \(module) any more: take it out of ImportTable.undecided")
            }
            for module in modules.intersection(ImportTable.rows[target] ?? []) {
                Issue.record("\(target) may import \(module): take it out of ImportTable.undecided")
            }
        }
    }

    @Test("The table has no cycle")
    func order() {
        var settled: Set<String> = []
        var left = ImportTable.rows
        while let next = left.first(where: { $0.value.intersection(ImportTable.rows.keys).isSubset(of: settled) }) {
            settled.insert(next.key)
            left[next.key] = nil
        }
        #expect(left.isEmpty, "these import each other: \(left.keys.sorted())")
    }

    @Test("Every import has an access level")
    func importAccess() throws {
        for file in try SourceFile.all(below: "Sources") { report(Rules.importAccess(file)) }
    }

    @Test("No file is too long", arguments: ["Sources", "Tests"])
    func length(directory: String) throws {
        for file in try SourceFile.all(below: directory) { report(Rules.length(file)) }
    }

    @Test("No banned call")
    func bannedCalls() throws {
        for file in try SourceFile.all(below: "Sources") { report(Rules.bannedCalls(file)) }
    }

    @Test("Nothing is left for later", arguments: ["Sources", "Tests"])
    func leftovers(directory: String) throws {
        for file in try SourceFile.all(below: directory) where !file.path.contains("ArchitectureTests/") {
            report(Rules.leftovers(file))
        }
    }

    @Test("Every declaration that others see has a doc comment")
    func documentation() throws {
        let files = try SourceFile.all(below: "Sources")
        let exempt = Rules.witnesses.union(Rules.requirements(files))
        for file in files { report(Rules.documentation(file, exempt: exempt)) }
    }
}
