/// What a drill is to prove, and where.
package struct DrillRequest: Sendable {
    /// A snapshot's name: the beginning of its id, `latest`, `latest:SOURCE`.
    package var snapshot: String
    /// The directory that the scratch directory is made in, raw and absolute.
    package var place: [UInt8]
    /// Whether `place` is for drills alone: then it is made when it is missing, and must be empty.
    package var isOwnPlace: Bool
    /// Whether checkpoints are judged by their content too, where a checksum of it is recorded.
    package var isDeep: Bool
    /// Name and version of the program, for the report.
    package var program: String

    package init(snapshot: String, place: [UInt8], isOwnPlace: Bool, isDeep: Bool, program: String) {
        self.snapshot = snapshot
        self.place = place
        self.isOwnPlace = isOwnPlace
        self.isDeep = isDeep
        self.program = program
    }
}
