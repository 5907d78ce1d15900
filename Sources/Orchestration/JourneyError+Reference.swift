package import Workloads

extension JourneyError {
    /// The workload that a user names. What names none is a mistake in the command line.
    package static func reference(_ text: String) throws(JourneyError) -> WorkloadReference {
        do throws(WorkloadError) {
            return try WorkloadReference(parsing: text)
        } catch {
            throw .usage(error.message)
        }
    }
}
