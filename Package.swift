// swift-tools-version: 6.2
import PackageDescription

/// Every target of ours: Swift 6 mode, explicit existentials and imports, warnings are errors.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]
/// Targets that touch C: each use of a pointer says `unsafe`.
let strictC = strict + [.strictMemorySafety()]

/// How `plugin/build` has the executables linked without shared libraries, one argument a line. Only the link differs, so
/// that builds with and without it share every object file.
let executableLink: [LinkerSetting] =
    Context.environment["BECALM_LINK_ARGUMENTS"].map { lines in
        [.unsafeFlags(lines.split(separator: "\n").map(String.init))]
    } ?? []

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let grpcCore = Target.Dependency.product(name: "GRPCCore", package: "grpc-swift-2")
let grpcTransport = Target.Dependency.product(
    name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport")
let grpcProtobuf = Target.Dependency.product(name: "GRPCProtobuf", package: "grpc-swift-protobuf")
let swiftProtobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let systemPackage = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

let package = Package(
    name: "becalm",
    products: [
        .executable(name: "becalm", targets: ["becalm"]),
        .executable(name: "velero-plugin-becalm", targets: ["velero-plugin-becalm"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        // The plugin's alone: the command and the engine build without them.
        .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.1"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        // Level 0: system libraries and typed C functions for what Swift cannot call.
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .target(name: "CCurlShims", dependencies: ["CCurl"]),
        .target(name: "CFileSystemShims"),
        .target(name: "CSealingKernels"),
        .target(name: "CCompressionKernels"),
        .target(name: "CProcessShims"),
        // Level 1
        .target(name: "Basics", dependencies: ["CProcessShims", systemPackage], swiftSettings: strict),
        // Level 2
        .target(
            name: "Compression", dependencies: ["Basics", "CZstd", "CCompressionKernels"], swiftSettings: strictC),
        .target(name: "Sealing", dependencies: ["Basics", "COpenSSL", "CSealingKernels"], swiftSettings: strictC),
        .target(
            name: "HTTPTransport", dependencies: ["Basics", "CCurl", "CCurlShims", logging], swiftSettings: strictC),
        .target(name: "TensorFiles", swiftSettings: strict),
        // Level 3
        .target(name: "Chunking", dependencies: ["Basics", "TensorFiles"], swiftSettings: strict),
        .target(name: "Checkpoints", dependencies: ["Basics", "TensorFiles"], swiftSettings: strict),
        .target(name: "ObjectStorage", dependencies: ["Basics", systemPackage, logging], swiftSettings: strict),
        // Level 4
        .target(
            name: "S3ObjectStorage",
            dependencies: ["Basics", "ObjectStorage", "HTTPTransport", "Sealing", systemPackage, logging],
            swiftSettings: strict),
        .target(
            name: "RepositoryFormat", dependencies: ["Basics", "Sealing"], swiftSettings: strict),
        .target(
            name: "Kubernetes", dependencies: ["Basics", "HTTPTransport", systemPackage, logging, yams],
            swiftSettings: strict),
        // Level 5
        .target(
            name: "Repository",
            dependencies: [
                "Basics", "Sealing", "Compression", "ObjectStorage", "RepositoryFormat", systemPackage,
                logging,
            ],
            swiftSettings: strict),
        .target(
            name: "Workloads", dependencies: ["Basics", "HTTPTransport", "Kubernetes", systemPackage],
            swiftSettings: strict),
        // Level 6
        .target(
            name: "Snapshots",
            dependencies: [
                "Basics", "CFileSystemShims", "Sealing", "Chunking", "RepositoryFormat", "Repository", "Checkpoints",
                systemPackage, logging,
            ],
            swiftSettings: strict),
        // Level 7
        .target(
            name: "Orchestration",
            dependencies: [
                "Basics", "Sealing", "Compression", "Checkpoints", "ObjectStorage", "RepositoryFormat", "Repository",
                "Snapshots", "Kubernetes", "Workloads", systemPackage, logging,
            ],
            swiftSettings: strict),
        // Level 8
        .target(
            name: "Velero",
            dependencies: [
                "Basics", "Sealing", "HTTPTransport", "ObjectStorage", "S3ObjectStorage", "RepositoryFormat",
                "Repository",
                "Snapshots", "Orchestration", "Workloads", "Kubernetes", systemPackage, logging,
            ],
            swiftSettings: strict),
        .target(name: "PluginHost", dependencies: ["Basics", systemPackage, logging], swiftSettings: strict),
        // Generated code is as its generators write it, warnings and all.
        .target(
            name: "VeleroProtocol", dependencies: [grpcCore, grpcProtobuf, swiftProtobuf],
            swiftSettings: [.swiftLanguageMode(.v6)]),
        // Level 9
        .target(
            name: "VeleroPlugin",
            dependencies: [
                "Basics", "VeleroProtocol", "PluginHost", "Velero", "Orchestration", grpcCore, grpcTransport,
                grpcProtobuf,
                swiftProtobuf,
                nioCore, systemPackage, logging,
            ],
            swiftSettings: strict),
        .target(
            name: "Commands",
            dependencies: [
                "Basics", "Checkpoints", "ObjectStorage", "S3ObjectStorage", "Kubernetes", "Workloads", "Orchestration",
                "Velero", argumentParser, systemPackage, logging,
            ],
            swiftSettings: strict),
        // Level 10
        .executableTarget(
            name: "becalm", dependencies: ["Commands"], swiftSettings: strict, linkerSettings: executableLink),
        .executableTarget(
            name: "velero-plugin-becalm", dependencies: ["VeleroPlugin"], swiftSettings: strict,
            linkerSettings: executableLink),

        // Scans the sources, so it depends on none of them.
        .testTarget(name: "ArchitectureTests", swiftSettings: strict),
        .testTarget(name: "BasicsTests", dependencies: ["Basics", systemPackage], swiftSettings: strict),
        .target(
            name: "HTTPTestServer", dependencies: ["Basics", systemPackage], path: "Tests/HTTPTestServer",
            swiftSettings: strict),
        .testTarget(
            name: "HTTPTransportTests", dependencies: ["Basics", "HTTPTransport", "HTTPTestServer"],
            swiftSettings: strict),
        .testTarget(
            name: "S3ObjectStorageTests",
            dependencies: [
                "Basics", "ObjectStorage", "ObjectStorageTesting", "HTTPTransport", "HTTPTestServer", "Sealing",
                "S3ObjectStorage", systemPackage, logging,
            ],
            swiftSettings: strict),
        .target(
            name: "KubernetesTesting", dependencies: ["Basics", "HTTPTestServer", "Kubernetes"],
            path: "Tests/KubernetesTesting", swiftSettings: strict),
        .testTarget(
            name: "KubernetesTests",
            dependencies: ["Basics", "HTTPTransport", "HTTPTestServer", "Kubernetes", logging],
            swiftSettings: strict),
        .testTarget(name: "ChunkingTests", dependencies: ["Basics", "Chunking", "TensorFiles"], swiftSettings: strict),
        .testTarget(name: "CompressionTests", dependencies: ["Basics", "Compression"], swiftSettings: strict),
        .target(
            name: "ObjectStorageTesting", dependencies: ["Basics", "ObjectStorage", systemPackage],
            path: "Tests/ObjectStorageTesting", swiftSettings: strict),
        .testTarget(
            name: "ObjectStorageTests", dependencies: ["Basics", "ObjectStorage", "ObjectStorageTesting"],
            swiftSettings: strict),
        .testTarget(
            name: "SnapshotsTests",
            dependencies: [
                "Basics", "Sealing", "ObjectStorage", "ObjectStorageTesting", "RepositoryFormat", "Repository",
                "Snapshots", "Checkpoints", systemPackage, logging,
            ],
            exclude: ["Golden"], swiftSettings: strict),
        .testTarget(
            name: "RepositoryFormatTests",
            dependencies: ["Basics", "ObjectStorageTesting", "RepositoryFormat", "Sealing"], swiftSettings: strict),
        .testTarget(
            name: "RepositoryTests",
            dependencies: [
                "Basics", "Sealing", "Compression", "ObjectStorage", "ObjectStorageTesting", "RepositoryFormat",
                "Repository", systemPackage, logging,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "CommandsTests",
            dependencies: [
                "Basics", "Sealing", "ObjectStorage", "RepositoryFormat", "Repository", "Snapshots", "Orchestration",
                "Velero", "HTTPTransport", "HTTPTestServer", "Kubernetes", "ObjectStorageTesting", "Commands", "becalm",
                systemPackage,
                logging,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "VeleroTests",
            dependencies: [
                "Basics", "HTTPTransport", "HTTPTestServer", "Kubernetes", "KubernetesTesting", "ObjectStorage",
                "ObjectStorageTesting", "Orchestration", "Repository", "RepositoryFormat", "S3ObjectStorage", "Sealing",
                "Snapshots", "Velero",
                "Workloads", systemPackage, logging,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "OrchestrationTests",
            dependencies: [
                "Basics", "HTTPTestServer", "Kubernetes", "KubernetesTesting", "ObjectStorage", "ObjectStorageTesting",
                "Orchestration", "Repository", "RepositoryFormat", "Sealing", "Snapshots", "Workloads", systemPackage,
                logging,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "WorkloadsTests",
            dependencies: [
                "Basics", "HTTPTestServer", "HTTPTransport", "Kubernetes", "KubernetesTesting", "Workloads",
            ],
            swiftSettings: strict),
        .testTarget(name: "PluginHostTests", dependencies: ["Basics", "PluginHost", logging], swiftSettings: strict),
        .testTarget(name: "SealingTests", dependencies: ["Basics", "Sealing"], swiftSettings: strict),
        .testTarget(
            name: "TensorFilesTests", dependencies: ["TensorFiles"], exclude: ["Samples", "make_samples.py"],
            swiftSettings: strict),
        .testTarget(
            name: "CheckpointsTests", dependencies: ["Basics", "Checkpoints", "Compression", "TensorFiles"],
            exclude: ["FormatSamples", "Samples", "make_format_samples.py", "make_samples.py"], swiftSettings: strict),
    ]
)
