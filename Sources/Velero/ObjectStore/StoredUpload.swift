internal import ObjectStorage
internal import S3ObjectStorage

/// An object that is stored as it comes.
struct StoredUpload: ObjectUpload {
    let upload: S3Upload

    func write(_ bytes: [UInt8]) async throws(VeleroError) {
        do throws(ObjectStorageError) {
            try await upload.write(bytes)
        } catch {
            throw VeleroError(error)
        }
    }

    func finish() async throws(VeleroError) {
        do throws(ObjectStorageError) {
            try await upload.finish()
        } catch {
            throw VeleroError(error)
        }
    }

    func abandon() async { await upload.abandon() }
}
