package import RepositoryFormat
internal import Snapshots

/// What stands in the files, variables and Secrets that open a repository, as credentials. Errors name where it is from
/// and never repeat what was in it.
package enum KeyMaterial {
    /// A key file's content: at least 32 random bytes. `source` is where it is from, as in "the key file /k".
    package static func keyFile(_ content: [UInt8], source: String) throws(JourneyError) -> KeyCredential {
        guard content.count >= 32 else {
            throw .usage("\(source) has \(content.count) bytes: at least 32 random ones are needed")
        }
        return .keyFile(content)
    }

    /// A password as it is. `source` is where it is from, as in "the password file /p".
    package static func password(_ password: [UInt8], source: String) throws(JourneyError) -> KeyCredential {
        guard !password.isEmpty else { throw JourneyError(.usage, kind: "no_password", "\(source) is empty") }
        return .passphrase(password)
    }

    /// Without the newline at its end, whatever the system that wrote it calls one.
    package static func line(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        if bytes.last == 0x0a { bytes.removeLast() }
        if bytes.last == 0x0d { bytes.removeLast() }
        return bytes
    }
}
