internal import ObjectStorage

/// What a location does to objects on their way: encrypts and decrypts them, or sees to it that they need none of it.
package struct ObjectEncryption: Sendable {
    /// Nil: objects are stored as they come.
    package let keys: ObjectKeyring?
    /// Whether an object that is not encrypted may be read where there are keys.
    package let allowsUnencryptedReads: Bool

    package init(keys: ObjectKeyring?, allowsUnencryptedReads: Bool) {
        self.keys = keys
        self.allowsUnencryptedReads = allowsUnencryptedReads
    }

    /// Puts encryption, if any, in front of an upload of the object of that name, relative to the location.
    func protecting(_ upload: any ObjectUpload, name: String) throws(VeleroError) -> any ObjectUpload {
        guard let key = keys?.current else { return upload }
        return try SealingUpload(upload, key: key, name: name)
    }

    /// A download of the object of that name, relative to the location, decrypted if it is encrypted. `label` names it in
    /// messages. Throws `accessDenied` when the key is not there, or when it is not encrypted and must be.
    func reading(
        _ download: any ObjectDownload, name: String, label: String
    ) async throws(VeleroError) -> any ObjectDownload {
        let first = try await download.next()
        do throws(SealedObjectError) {
            if let first, SealedObjectHeader.isSealed(first) {
                let header = try SealedObjectHeader(parsing: first)
                let opener = try ObjectOpener(header, keys: keys, name: name)
                return OpeningDownload(
                    download, opener, first: Array(first.dropFirst(SealedObjectHeader.size)), name: label)
            }
            guard keys == nil || allowsUnencryptedReads else {
                throw SealedObjectError(
                    .notEncrypted,
                    "it is not encrypted, and this location is: somebody else may have put it there; set allowUnencryptedReads to true while backups from before are needed"
                )
            }
            return ResumedDownload(download, first: first)
        } catch {
            await download.close()
            throw VeleroError(error, object: label)
        }
    }
}
