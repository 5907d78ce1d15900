internal import FoundationEssentials
package import Repository
internal import RepositoryFormat
package import Sealing

/// A signed manifest in the form of OpenSSF Model Signing 1.0 that its own verifier checks: a Sigstore bundle 0.3 with a
/// DSSE envelope around an in-toto statement (specification: sigstore/model-transparency, "model_signing/signature/v1.0").
package struct ModelSignature: Sendable {
    /// What the verifier leaves out of every model's top directory, whatever it is told, and so must we.
    private static let gitPaths = [".git", ".gitattributes", ".github", ".gitignore"]
    /// Where the verifier's users put the signature.
    private static let signatureName = "model.sig"
    private static let payloadType = "application/vnd.in-toto+json"

    private let manifest: HashManifest
    private let followsLinks: Bool
    private let ignored: [[[UInt8]]]
    private let ignoredNames: [String]

    /// The signature-to-be of the directory that `manifest` is of.
    ///
    /// The verifier refuses a directory that holds a symbolic link anywhere, unless it is told to follow them;
    /// `followsLinks` makes a signature for that: links to files within the manifest count as what they lead to.
    /// `ignoring` are paths in it that are not signed. Throws `.invalidArgument` for one that is not UTF-8.
    package init(_ manifest: HashManifest, followsLinks: Bool, ignoring: [[UInt8]] = []) throws(RepositoryError) {
        self.manifest = manifest
        self.followsLinks = followsLinks
        var names = [Self.signatureName] + Self.gitPaths
        for path in ignoring { names.append(try Self.name(SnapshotTree.components(of: path))) }
        ignoredNames = names
        ignored = names.map { SnapshotTree.components(of: Array($0.utf8)) }
    }

    /// The bundle, one line of JSON and a newline, signed with `key`. Blocks.
    ///
    /// Throws `.invalidArgument` when the tree cannot be signed so (links, special files, names that are not UTF-8, no
    /// file at all, no digests), `.damaged`, and what the key throws.
    package func bundle(signedBy key: ECSigningKey) throws -> [UInt8] {
        let payload = try statement().text
        let type = Self.payloadType
        let signature = try key.sign(Array("DSSEv1 \(type.utf8.count) \(type) \(payload.count) ".utf8) + payload)
        let hint = SHA256State.digest(of: Array(key.publicKeyPEM.utf8)).description
        let bundle = JSONValue.object([
            .init("mediaType", .string("application/vnd.dev.sigstore.bundle.v0.3+json")),
            .init(
                "verificationMaterial",
                .object([.init("publicKey", .object([.init("hint", .string(hint))])), .init("tlogEntries", .array([]))])
            ),
            .init(
                "dsseEnvelope",
                .object([
                    .init("payload", .string(Data(payload).base64EncodedString())),
                    .init("payloadType", .string(type)),
                    .init(
                        "signatures",
                        .array([
                            .object([
                                .init("sig", .string(Data(signature).base64EncodedString())),
                                .init("keyid", .string("")),
                            ])
                        ])),
                ])),
        ])
        return bundle.text + [0x0a]
    }

    private struct Resource {
        var components: [[UInt8]]
        var digest: Digest
    }

    /// The in-toto statement.
    private func statement() throws -> JSONValue {
        var state = SHA256State()
        var list: [JSONValue] = []
        for resource in try resources() {
            state.update(resource.digest.bytes)
            list.append(
                .object([
                    .init("name", .string(try Self.name(resource.components))), .init("algorithm", .string("sha256")),
                    .init("digest", .string(resource.digest.description)),
                ]))
        }
        let subject = JSONValue.object([
            .init("name", .string(try modelName())),
            .init("digest", .object([.init("sha256", .string(state.finish().description))])),
        ])
        return .object([
            .init("_type", .string("https://in-toto.io/Statement/v1")), .init("subject", .array([subject])),
            .init("predicateType", .string("https://model_signing/signature/v1.0")),
            .init(
                "predicate",
                .object([
                    .init(
                        "serialization",
                        .object([
                            .init("method", .string("files")), .init("hash_type", .string("sha256")),
                            .init("allow_symlinks", .bool(followsLinks)), .init("ignore_paths", .strings(ignoredNames)),
                        ])), .init("resources", .array(list)),
                ])),
        ])
    }

    /// The name of the statement's subject: the directory's, or the snapshot's id where it has none.
    private func modelName() throws(RepositoryError) -> String {
        guard let last = manifest.root.last else { return "snapshot-\(manifest.tree.id)" }
        return try Self.name([last])
    }

    /// What is signed, in the order of path components.
    private func resources() throws -> [Resource] {
        var resources: [Resource] = []
        var files: [[[UInt8]]: Digest] = [:]
        var directories: Set<[[UInt8]]> = []
        var links: [[[UInt8]]: [[UInt8]]] = [:]
        try manifest.forEach { entry in
            switch entry.type {
            case .directory: if followsLinks { directories.insert(entry.components) }
            case .regular:
                // Links may lead to what is not signed itself.
                if followsLinks { files[entry.components] = try manifest.requireDigest(entry) }
                guard !isIgnored(entry.components) else { return }
                resources.append(Resource(components: entry.components, digest: try manifest.requireDigest(entry)))
            case .symbolicLink:
                guard followsLinks else {
                    throw refusal(
                        entry.components,
                        "is a symbolic link, which the verifier refuses: sign a directory without links (a model cache's 'blobs'), or use --follow-symlinks and verify with --allow_symlinks"
                    )
                }
                links[entry.components] = SnapshotTree.linkComponents(entry.linkTarget, from: entry.components)
            default:
                throw refusal(
                    entry.components,
                    "is neither file nor directory (\(HashManifest.name(entry.type))), which the verifier refuses: sign a directory without it"
                )
            }
        }
        for (path, target) in links where !isIgnored(path) {
            guard let end = Self.resolve(target, links), let digest = files[end] else {
                let isDirectory = Self.resolve(target, links).map { directories.contains($0) } ?? false
                throw refusal(
                    path,
                    isDirectory
                        ? "is a link to a directory, which versions of the verifier treat differently: sign the directory itself"
                        : "is a link that leads to no file in what is signed: sign a directory that holds both")
            }
            resources.append(Resource(components: path, digest: digest))
        }
        if !links.isEmpty { resources.sort { Self.precedes($0.components, $1.components) } }
        guard !resources.isEmpty else {
            throw RepositoryError(
                .invalidArgument,
                "\(HashManifest.display(manifest.root)) in snapshot \(manifest.tree.id) holds no file to sign: name the model's directory with --path"
            )
        }
        return resources
    }

    /// Where a link ends, through links to links; nil when it goes in a circle. Links among the directories on the way
    /// are followed too.
    private static func resolve(_ start: [[UInt8]], _ links: [[[UInt8]]: [[UInt8]]]) -> [[UInt8]]? {
        var path = start
        // Linux follows 40 links at the most (path_resolution(7)).
        for _ in 0..<40 {
            guard let length = (1...max(path.count, 1)).first(where: { links[Array(path.prefix($0))] != nil }),
                let target = links[Array(path.prefix(length))]
            else { return path }
            path = target + path.dropFirst(length)
        }
        return nil
    }

    private func isIgnored(_ path: [[UInt8]]) -> Bool { ignored.contains { path.starts(with: $0) } }

    private static func precedes(_ left: [[UInt8]], _ right: [[UInt8]]) -> Bool {
        left.lexicographicallyPrecedes(right) { $0.lexicographicallyPrecedes($1) }
    }

    private static func name(_ components: [[UInt8]]) throws(RepositoryError) -> String {
        let bytes = Array(components.joined(separator: [UInt8(ascii: "/")]))
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw RepositoryError(
                .invalidArgument,
                "the name \(PathText.display(bytes)) is not UTF-8, which a signature in JSON cannot hold: rename it, or use --format sha256sum"
            )
        }
        return text
    }

    private func refusal(_ path: [[UInt8]], _ why: String) -> RepositoryError {
        RepositoryError(
            .invalidArgument,
            "snapshot \(manifest.tree.id) cannot be signed as a model: \(HashManifest.display(manifest.root + path)) \(why)"
        )
    }
}

extension SnapshotTree {
    /// The components that a link at `path` with `target` leads to, as text only; one that leads above the root or is
    /// absolute leads to what no manifest holds.
    static func linkComponents(_ target: [UInt8], from path: [[UInt8]]) -> [[UInt8]] {
        let outside: [[UInt8]] = [Array("..".utf8)]
        guard target.first != UInt8(ascii: "/") else { return outside }
        var result = Array(path.dropLast())
        for component in target.split(separator: UInt8(ascii: "/")).map(Array.init) {
            if component == [UInt8(ascii: ".")] { continue }
            if component == Array("..".utf8) {
                guard !result.isEmpty else { return outside }
                result.removeLast()
            } else {
                result.append(component)
            }
        }
        return result
    }
}
