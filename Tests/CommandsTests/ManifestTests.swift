import Commands
import Foundation
import ObjectStorageTesting
import Orchestration
import Synchronization
import Testing

@Suite("Manifests that others check")
struct ManifestTests {
    /// The verifier of OpenSSF Model Signing, where it is installed: `pip install model-signing pyopenssl`.
    static let verifier: String? = {
        let search = "command -v model_signing && model_signing --version"
        let run = try? execute("/bin/sh", ["-c", search], in: "/", environment: ProcessInfo.processInfo.environment)
        guard let run, run.status == 0 else { return nil }
        return run.output.split(separator: "\n").first.map(String.init)
    }()

    /// A tree with every kind of name that a line of sha256sum can hold.
    private func awkward(_ world: World) throws {
        let script = """
            mkdir -p source/sub source/empty; cd source; printf a > plain; printf b > 'with space'
            printf c > "$(printf 'new\\nline')"; printf d > 'back\\slash'; printf e > "$(printf 'cr\\rx')"
            printf f > "$(printf 'bad\\377')"; printf g > -; printf h > sub/-; printf i > '\\n'; printf j > ' lead'
            printf k > '*star'; printf l > "$(printf 'end\\r')"; ln -s plain link; mkfifo pipe; : > nothing
            """
        let run = try execute("/bin/sh", ["-ec", script], in: world.path)
        try #require(run.status == 0, "\(run.output)")
    }

    @Test("sha256sum -c accepts the manifest of awkward names, and notices a changed file")
    func sha256sum() async throws {
        let world = try World()
        try awkward(world)
        await world.run("init")
        #expect(await world.run("backup", "source").status == .done)
        let run = await world.run("manifest", "latest", "--path", "source", "--format", "sha256sum")
        #expect(run.status == .done, "\(run.err)")
        let manifest = world.lastOutput.withLock { $0 }
        #expect(manifest.count { $0 == 0x0a } == 13)
        let directory = world.path("source")
        let good = try execute("/usr/bin/sha256sum", ["-c", "--strict"], in: directory, input: manifest)
        #expect(good.status == 0, "\(good.output)")
        #expect(good.output.split(separator: "\n").count { $0.hasSuffix(": OK") } == 13, "\(good.output)")
        // The program's own lines for the same files are the same bytes, but for the name that means standard input.
        let own = try execute(
            "/bin/sh",
            ["-c", "find . -type f -printf '%P\\0' | grep -zv '^-$' | xargs -0 sha256sum --; sha256sum ./-"],
            in: directory, environment: ["LC_ALL": "C", "PATH": "/usr/bin:/bin"])
        let lines = { (text: String) in Set(text.split(separator: "\n").map(String.init)) }
        #expect(lines(String(decoding: manifest, as: UTF8.self)) == lines(own.output))
        try world.write("source/back\\slash", "other")
        let bad = try execute("/usr/bin/sha256sum", ["-c", "--strict"], in: directory, input: manifest)
        #expect(bad.status == 1)
        #expect(bad.output.contains("FAILED"))
    }

    @Test("The manifest of a whole snapshot is checked where it was restored to")
    func wholeSnapshot() async throws {
        let world = try World()
        try await world.prepare()
        #expect(await world.run("restore", "latest", "--target", "out").status == .done)
        let run = await world.run("manifest", "latest", "--format", "sha256sum", "--output", "out/SUMS")
        #expect(run.status == .done)
        #expect(run.out.isEmpty)
        let check = try execute("/usr/bin/sha256sum", ["-c", "SUMS"], in: world.path("out"))
        #expect(check.status == 0, "\(check.output)")
    }

    @Test("The JSON manifest is sorted by components, has every entry, and gives raw names of those that are not UTF-8")
    func json() async throws {
        let world = try World()
        try awkward(world)
        try world.write("source/a/x", "1")
        try world.write("source/a-b/x", "1")
        await world.run("init")
        let backup = try await world.run("backup", "source", "--json").summary()
        let run = await world.run("manifest", "latest")
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(run.out.utf8)) as? [String: any Sendable])
        #expect(object["schema"] as? String == "becalm.io/manifest/v1")
        #expect(object["snapshot"] as? String == backup["snapshot"] as? String)
        #expect(object["content_digest"] as? String == backup["content_digest"] as? String)
        let entries = try #require(object["entries"] as? [[String: any Sendable]])
        let paths = entries.compactMap { $0["path"] as? String }
        #expect(paths.count == entries.count)
        #expect(paths.first == "source")
        let a = try #require(paths.firstIndex(of: "source/a/x"))
        #expect(a < (try #require(paths.firstIndex(of: "source/a-b"))))
        let bad = try #require(entries.first { $0["path_base64"] != nil })
        #expect(bad["path_base64"] as? String == Data("source/bad".utf8 + [0xff]).base64EncodedString())
        let newline = try #require(entries.first { $0["path"] as? String == "source/new\nline" })
        #expect(newline["size"] as? Int == 1)
        #expect(newline["mode"] as? String == "0644")
        let link = try #require(entries.first { $0["path"] as? String == "source/link" })
        #expect(link["target"] as? String == "plain")
        #expect(link["sha256"] == nil)
    }

    @Test("Without file digests there is no manifest, and the error says why", arguments: ["json", "sha256sum"])
    func withoutDigests(form: String) async throws {
        let world = try World()
        try await world.prepare("--no-file-digests")
        let run = await world.run("manifest", "latest", "--format", form, "--output", "sums")
        #expect(run.status == .usage)
        #expect(run.err.contains("--no-file-digests"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: world.path).allSatisfy { !$0.hasPrefix("sums") })
    }

    // MARK: Model signing

    /// A model directory as they lie around, a repository with it, and keys on a curve.
    private func model(_ world: World, curve: String = "prime256v1") async throws {
        try world.write("model/config.json", "{}")
        try world.write("model/a/x.safetensors", [UInt8](repeating: 1, count: 5000))
        try world.write("model/a-b/y.safetensors", [UInt8](repeating: 2, count: 50))
        try world.write("model/.gitattributes", "*.safetensors lfs\n")
        try world.write("model/.git/HEAD", "ref\n")
        try world.write("model/sub/.gitignore", "listed, for only the top is left out\n")
        let keys = try execute(
            "/bin/sh",
            [
                "-ec",
                "openssl ecparam -name \(curve) -genkey -noout -out key.pem; openssl ec -in key.pem -pubout -out pub.pem",
            ],
            in: world.path, environment: ["PATH": "/usr/bin:/bin"])
        try #require(keys.status == 0, "\(keys.output)")
        await world.run("init")
        #expect(await world.run("backup", "model").status == .done)
    }

    private func check(_ world: World, _ directory: String, _ more: String...) throws -> (status: Int32, output: String)
    {
        try execute(
            try #require(Self.verifier),
            ["verify", "key", directory, "--signature", world.path("model.sig"), "--public_key", world.path("pub.pem")]
                + more, in: world.path, environment: ProcessInfo.processInfo.environment)
    }

    @Test(
        "The real verifier accepts the signature of a restored model, and refuses a changed, added or removed file",
        .enabled(if: verifier != nil, "the verifier is not installed: pip install model-signing pyopenssl"),
        arguments: ["prime256v1", "secp384r1", "secp521r1"])
    func modelSigning(curve: String) async throws {
        let world = try World()
        try await model(world, curve: curve)
        let run = await world.run(
            "manifest", "latest", "--path", "model", "--format", "model-signing", "--sign", "key.pem", "--output",
            "model.sig")
        #expect(run.status == .done, "\(run.err)")
        #expect(await world.run("restore", "latest", "--target", "out").status == .done)
        let restored = world.path("out/model")
        let good = try check(world, restored)
        #expect(good.status == 0, "\(good.output)")
        try world.write("out/model/added", "x")
        #expect(try check(world, restored).status == 1)
        try FileManager.default.removeItem(atPath: world.path("out/model/added"))
        #expect(try check(world, restored).status == 0)
        try world.write("out/model/a-b/y.safetensors", "changed")
        #expect(try check(world, restored).status == 1)
        try FileManager.default.removeItem(atPath: world.path("out/model/a-b/y.safetensors"))
        #expect(try check(world, restored).status == 1)
    }

    @Test(
        "A signature inside the model does not count, and paths can be left out",
        .enabled(if: verifier != nil, "the verifier is not installed: pip install model-signing pyopenssl"))
    func ignoredPaths() async throws {
        let world = try World()
        try world.write("model/model.sig", "an older one")
        try world.write("model/logs/today", "x")
        try await model(world)
        let run = await world.run(
            "manifest", "latest", "--path", "model", "--format", "model-signing", "--sign", "key.pem", "--ignore",
            "logs", "--output", "model/model.sig")
        #expect(run.status == .done, "\(run.err)")
        try FileManager.default.copyItem(atPath: world.path("model/model.sig"), toPath: world.path("model.sig"))
        try world.write("model/logs/today", "changed")
        let good = try check(world, world.path("model"))
        #expect(good.status == 0, "\(good.output)")
    }

    @Test("A link is refused with its name; followed, the real verifier agrees when told to follow too")
    func links() async throws {
        let world = try World()
        try await model(world)
        let setUp = try execute(
            "/bin/sh",
            [
                "-ec",
                """
                mkdir -p hub/blobs hub/snapshots/main; printf weights > hub/blobs/0a; printf more > hub/blobs/0b
                ln -s ../../blobs/0a hub/snapshots/main/model.safetensors
                touch -d '1 hour ago' hub/blobs/*
                ln -s 0b hub/blobs/alias; ln -s ../../blobs/alias hub/snapshots/main/config.json
                """,
            ], in: world.path)
        try #require(setUp.status == 0, "\(setUp.output)")
        #expect(await world.run("backup", "hub").status == .done)
        let arguments = ["manifest", "latest:hub", "--format", "model-signing", "--sign", "key.pem"]
        let key = ["--key-file", world.path("key")]
        let refused = await world.plain(arguments + key + ["--path", "hub"])
        #expect(refused.status == .usage)
        #expect(refused.err.contains("hub/blobs/alias"))
        #expect(refused.err.contains("--follow-symlinks"))
        let outside = await world.plain(arguments + key + ["--path", "hub/snapshots/main", "--follow-symlinks"])
        #expect(outside.status == .usage)
        #expect(outside.err.contains("leads to no file in what is signed"))
        let followed = await world.plain(
            arguments + key + ["--path", "hub", "--follow-symlinks", "--output", "model.sig"])
        #expect(followed.status == .done, "\(followed.err)")
        guard Self.verifier != nil else { return }
        let good = try check(world, world.path("hub"), "--allow_symlinks")
        #expect(good.status == 0, "\(good.output)")
        try world.write("hub/blobs/0a", "changed")
        #expect(try check(world, world.path("hub"), "--allow_symlinks").status == 1)
    }

    @Test("Trees that the form cannot hold are refused, and say which file is to blame")
    func refusals() async throws {
        let world = try World()
        try await model(world)
        let sign = ["--format", "model-signing", "--sign", "key.pem", "--key-file", world.path("key")]
        #expect(try execute("/bin/sh", ["-c", "mkfifo model/pipe"], in: world.path).status == 0)
        await world.run("backup", "model")
        let special = await world.plain(["manifest", "latest", "--path", "model"] + sign)
        #expect(special.status == .usage)
        #expect(special.err.contains("model/pipe"))
        let name = try execute("/bin/sh", ["-c", "rm model/pipe; : > \"$(printf 'model/\\377')\""], in: world.path)
        #expect(name.status == 0)
        await world.run("backup", "model")
        let bytes = await world.plain(["manifest", "latest", "--path", "model"] + sign)
        #expect(bytes.status == .usage)
        #expect(bytes.err.contains("UTF-8"))
        let file = await world.plain(["manifest", "latest", "--path", "model/config.json"] + sign)
        #expect(file.status == .usage)
        let nothing = await world.plain(["manifest", "latest", "--path", "model/.git/none"] + sign)
        #expect(nothing.status == .usage)
    }

    @Test("A signing key that is none, or whose passphrase is missing, is refused; with its passphrase it signs")
    func signingKey() async throws {
        let world = try World()
        try await model(world)
        try world.write("none.pem", "nothing")
        let arguments = [
            "manifest", "latest", "--path", "model", "--format", "model-signing", "--key-file", world.path("key"),
        ]
        #expect(await world.plain(arguments + ["--sign", "none.pem"]).status == .usage)
        #expect(await world.plain(arguments).status == .usage)
        let lock = try execute(
            "/usr/bin/openssl",
            ["pkcs8", "-topk8", "-in", "key.pem", "-out", "locked.pem", "-passout", "pass:open sesame"],
            in: world.path)
        try #require(lock.status == 0, "\(lock.output)")
        let locked = await world.plain(arguments + ["--sign", "locked.pem"])
        #expect(locked.status == .usage)
        #expect(locked.err.contains("passphrase"))
        let opened = await world.plain(
            arguments + ["--sign", "locked.pem"], ["BECALM_SIGN_PASSWORD_COMMAND": "echo 'open sesame'"])
        #expect(opened.status == .done, "\(opened.err)")
        #expect(!(opened.out + opened.err + locked.err).contains("sesame"))
    }
}
