package import Repository
package import RepositoryFormat

extension SnapshotTree {
    /// The content of a regular file that is small. Throws `.invalidArgument` for one of more than `mostBytes`.
    package func content(of entry: TreeEntry, atMost mostBytes: Int) throws(RepositoryError) -> [UInt8] {
        let file = try SnapshotFile(entry, loader: loader)
        guard file.size <= UInt64(mostBytes) else {
            throw RepositoryError(
                .invalidArgument, "\(PathText.display(entry.name)) has \(file.size) bytes, more than \(mostBytes)")
        }
        var content = [UInt8](repeating: 0, count: Int(file.size))
        // A closure cannot carry the typed error through the pointer's scope.
        let result: Result<Int, RepositoryError> = content.withUnsafeMutableBytes { buffer in
            do throws(RepositoryError) { return .success(try file.read(at: 0, into: buffer)) } catch {
                return .failure(error)
            }
        }
        guard try result.get() == content.count else {
            throw RepositoryError(.damaged, "\(PathText.display(entry.name)) is shorter than its length")
        }
        return content
    }
}
