/// What each target may import of the package's own targets and of other packages.
///
/// The same table stands in the design and in the package's architecture page; a new arrow is a design change and edits
/// all three. Data goes one way: a target imports only what stands above it here.
enum ImportTable {
    /// A target, and what it may import beside `everywhere`.
    static let rows: [String: Set<String>] = [
        // Level 1
        "Basics": ["CProcessShims", "SystemPackage"],
        // Level 2
        "Compression": ["Basics", "CZstd", "CCompressionKernels"],
        "Sealing": ["Basics", "COpenSSL", "CSealingKernels"],
        "TensorFiles": ["Basics"],
        "HTTPTransport": ["Basics", "CCurl", "CCurlShims", "Logging"],
        // Level 3
        "Chunking": ["Basics", "TensorFiles"],
        "Checkpoints": ["Basics", "TensorFiles"],
        "ObjectStorage": ["Basics", "Logging", "SystemPackage"],
        // Level 4
        "S3ObjectStorage": [
            "Basics", "ObjectStorage", "HTTPTransport", "Sealing", "FoundationEssentials", "Logging", "SystemPackage",
        ],
        "RepositoryFormat": ["Basics", "Sealing", "Compression", "FoundationEssentials"],
        "Kubernetes": ["Basics", "HTTPTransport", "Yams", "FoundationEssentials", "Logging", "SystemPackage"],
        // Level 5
        "Repository": [
            "Basics", "Sealing", "Compression", "Chunking", "ObjectStorage", "RepositoryFormat", "FoundationEssentials",
            "Logging", "SystemPackage",
        ],
        "Workloads": ["Basics", "HTTPTransport", "Kubernetes", "FoundationEssentials", "Logging", "SystemPackage"],
        // Level 6
        "Snapshots": [
            "Basics", "CFileSystemShims", "Sealing", "Chunking", "ObjectStorage", "RepositoryFormat", "Repository",
            "Checkpoints", "FoundationEssentials", "Logging", "SystemPackage",
        ],
        // Level 7
        "Orchestration": [
            "Basics", "Sealing", "Compression", "ObjectStorage", "RepositoryFormat", "Repository", "Snapshots",
            "Checkpoints", "Kubernetes", "Workloads", "FoundationEssentials", "Logging", "SystemPackage",
        ],
        // Level 8
        "Velero": [
            "Basics", "Sealing", "HTTPTransport", "ObjectStorage", "S3ObjectStorage", "RepositoryFormat", "Repository",
            "Snapshots", "Orchestration", "Workloads", "Kubernetes", "FoundationEssentials", "Logging", "SystemPackage",
        ],
        "VeleroProtocol": ["GRPCCore", "GRPCProtobuf", "SwiftProtobuf"],
        "PluginHost": ["Basics", "Logging", "SystemPackage"],
        // Level 9
        "VeleroPlugin": [
            "Basics", "VeleroProtocol", "PluginHost", "Velero", "Orchestration", "GRPCCore",
            "GRPCNIOTransportHTTP2Posix", "GRPCProtobuf", "SwiftProtobuf", "NIOCore", "FoundationEssentials", "Logging",
            "SystemPackage",
        ],
        "Commands": [
            "Basics", "Sealing", "ObjectStorage", "S3ObjectStorage", "RepositoryFormat", "Repository", "Snapshots",
            "Checkpoints", "Kubernetes", "Workloads", "Orchestration", "Velero", "ArgumentParser",
            "FoundationEssentials", "Logging", "SystemPackage",
        ],
        // Level 10
        "becalm": ["Commands"],
        "velero-plugin-becalm": ["VeleroPlugin"],
    ]

    /// Modules of the standard library and the C library, which every target may import.
    static let everywhere: Set<String> = ["Swift", "Glibc", "Musl", "Synchronization"]

    /// A C library has one target that touches it; nobody else imports it, whatever the rows say.
    static let ownerOfC: [String: String] = [
        "CZstd": "Compression", "COpenSSL": "Sealing", "CCurl": "HTTPTransport", "CCurlShims": "HTTPTransport",
        "CFileSystemShims": "Snapshots", "CSealingKernels": "Sealing", "CCompressionKernels": "Compression",
        "CProcessShims": "Basics",
    ]

    /// Arrows that the tree has and the design has not: each waits to be decided, by a new row or by another import.
    /// An entry that nothing needs any more fails the test, so this list only gets shorter.
    static let undecided: [String: Set<String>] = [:]
}
