internal import RepositoryFormat
internal import Sealing
internal import Synchronization

/// The opened keys of the sessions met so far: opening one costs a curve multiplication, and packs share sessions.
final class SessionKeys: Sendable {
    private let keyring: Keyring
    private let keys = Mutex<[Identifier: SecretKey]>([:])
    /// Sessions kept at the most; 32 bytes each.
    private static let limit = 65_536

    init(keyring: Keyring) { self.keyring = keyring }

    /// The key of the session. Throws `FormatError`.
    func key(_ header: SessionHeader) throws(FormatError) -> SecretKey {
        if let key = keys.withLock({ $0[header.sessionID] }) { return key }
        let key = try header.openKey(keyring: keyring)
        keys.withLock { keys in
            if keys.count >= Self.limit { keys.removeAll() }
            keys[header.sessionID] = key
        }
        return key
    }
}
