import Checkpoints
import Testing

@Suite("Ollama") struct OllamaTests {
    private let manifest = "s/manifests/registry.ollama.ai/library/tiny/latest"

    private func blobs(_ tree: TemporaryTree) throws -> [String] {
        var names: [String] = []
        try LocalTree(tree.path).list("s/blobs") { entry in
            names.append("s/blobs/\(entry.name)")
            return true
        }
        return names.sorted()
    }

    @Test func aStoreIsComplete() throws {
        for deep in [false, true] {
            let tree = try TemporaryTree.format("ollama")
            let report = try tree.formats(deep: deep)
            #expect(report.checkpoints.map(\.path) == ["s", manifest])
            #expect(report.checkpoints.map(\.kind) == [.cache, .model])
            #expect(report.checkpoints.map(\.judgement) == [.complete, .complete])
            let model = report.checkpoints[1]
            #expect(model.format == .ollama)
            #expect(model.commitMarkers == [manifest])
            guard case .files(let files) = model.contents else {
                Issue.record("no files")
                return
            }
            #expect(files.sorted() == (try blobs(tree) + [manifest]).sorted())
        }
    }

    @Test func aMissingOrCutLayerIsTorn() throws {
        let names = try blobs(try TemporaryTree.format("ollama"))
        #expect(names.count == 4)
        for name in names {
            let tree = try TemporaryTree.format("ollama")
            let bytes = try tree.read(name)
            try tree.write(name, Array(bytes.dropLast()))
            #expect(try tree.formats().at(manifest).evidence.map(\.file) == [name])
            try tree.remove(name)
            let missing = try tree.formats().at(manifest)
            #expect(missing.evidence.map(\.file) == [name])
            #expect(missing.evidenceText.contains("no such file"))
            try tree.write(name, bytes.map { $0 ^ 1 })
            #expect(try tree.formats().at(manifest).judgement == .complete)
            let deep = try tree.formats(deep: true).at(manifest)
            #expect(deep.evidence.map(\.file) == [name])
            #expect(deep.evidenceText.contains("SHA-256"))
        }
    }

    @Test func aDamagedManifestIsTorn() throws {
        let tree = try TemporaryTree.format("ollama")
        try tree.truncate(manifest, to: 50)
        let report = try tree.formats()
        #expect(try report.at(manifest).evidence.map(\.file) == [manifest])
        #expect(try report.at("s").notes.contains { $0.contains("4 blobs belong to no model") })
    }

    @Test func downloadsUnderWayAreLeftOut() throws {
        let tree = try TemporaryTree.format("ollama")
        let digest = String(repeating: "ab", count: 32)
        try tree.write("s/blobs/sha256-\(digest)-partial", "x")
        try tree.write("s/blobs/sha256-\(digest)-partial-0", "x")
        let store = try tree.formats().at("s")
        #expect(store.judgement == .complete)
        #expect(store.inProgress == ["s/blobs/sha256-\(digest)-partial", "s/blobs/sha256-\(digest)-partial-0"])
    }

    @Test func olderNamesOfBlobsAreKnown() throws {
        let tree = try TemporaryTree.format("ollama")
        for name in try blobs(tree) {
            try tree.move(name, to: name.replacing("sha256-", with: "sha256:"))
        }
        #expect(try tree.formats(deep: true).at(manifest).judgement == .complete)
    }

    @Test func manifestsMayBeLinksToBlobs() throws {
        let tree = try TemporaryTree.format("ollama")
        let text = try tree.read(manifest)
        var hasher = TestSHA256()
        text.withUnsafeBytes { hasher.update($0) }
        let blob = "s/blobs/sha256-\(hasher.finish().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())"
        try tree.remove("s/manifests")
        try tree.write(blob, text)
        let link = "s/manifests-v2/registry.ollama.ai/library/tiny/latest"
        try tree.link(link, to: "../../../../blobs/\(TreePath.name(blob))")
        let report = try tree.formats()
        #expect(report.checkpoints.map(\.path) == ["s", link])
        #expect(try report.at(link).judgement == .complete)
        #expect(try report.at("s").notes.isEmpty)
        try tree.replace(blob, "\"schemaVersion\":2", with: "\"schemaVersion\":3")
        #expect(try tree.formats().at(link).evidence.map(\.file) == [blob])
        try tree.remove(blob)
        #expect(try tree.formats().at(link).judgement == .torn)
        try tree.write("s/blobs/other", text)
        try tree.remove(link)
        try tree.link(link, to: "../../../../blobs/other")
        #expect(try tree.formats().at(link).evidenceText.contains("a link to a blob"))
    }

    @Test func aListOfManifestsIsUnknown() throws {
        let tree = try TemporaryTree.format("ollama")
        try tree.write(manifest, "{\"manifests\": [{\"runner\": \"mlx\"}]}")
        #expect(try tree.formats().at(manifest).doubtText.contains("a list of manifests"))
    }

    @Test func directoriesOfThoseNamesAreNoStoreByThemselves() throws {
        let tree = try TemporaryTree()
        try tree.write("manifests/app/deployment.yaml", "x")
        try tree.write("blobs/a.bin", "x")
        #expect(try tree.formats().checkpoints.filter { $0.format == .ollama }.isEmpty)
    }
}
