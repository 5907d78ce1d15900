package import ObjectStorage
package import Repository
package import RepositoryFormat
internal import Snapshots

/// All that is needed to open a repository: every journey begins here.
package struct RepositoryAccess: Sendable {
    package var store: any ObjectStore
    package var credential: KeyCredential
    package var options: RepositoryOptions

    package init(store: any ObjectStore, credential: KeyCredential, options: RepositoryOptions) {
        self.store = store
        self.credential = credential
        self.options = options
    }

    /// Opens the repository. Throws `noRepository`, `wrongKey`, `integrity` and what the store gives.
    package func open() async throws(JourneyError) -> Repository {
        try await JourneyError.mapping {
            try await Repository.open(store: store, credential: credential, options: options)
        }
    }

    /// Makes a repository that the credential opens with the role `full`; `graceSeconds` is how long what is to be
    /// collected waits. Throws `already_exists` where there is one.
    package func create(label: String, graceSeconds: UInt64) async throws(JourneyError) -> Repository {
        try await JourneyError.mapping {
            try await Repository.create(
                store: store, credential: credential, label: label, graceSeconds: graceSeconds, options: options)
        }
    }

    /// Whether `store` holds a repository, as far as one can see without a key. Throws what the store gives.
    package static func holdsRepository(_ store: any ObjectStore) async throws(JourneyError) -> Bool {
        for name in [ObjectNames.config, ObjectNames.configCopy] {
            do {
                _ = try await store.head(name)
                return true
            } catch {
                guard error.code == .notFound else { throw JourneyError(error) }
            }
        }
        return false
    }
}
