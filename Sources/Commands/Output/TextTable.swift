/// Rows under a line of headings, padded so that columns stand below each other.
package struct TextTable: Sendable {
    /// A column's heading; numbers stand right.
    package struct Column: Sendable {
        var title: String
        var isRight: Bool

        /// A column of text.
        package static func left(_ title: String) -> Column { Column(title: title, isRight: false) }
        /// A column of numbers.
        package static func right(_ title: String) -> Column { Column(title: title, isRight: true) }
    }

    private let columns: [Column]
    private var rows: [[String]] = []

    package init(_ columns: [Column]) { self.columns = columns }

    /// Adds a row, which has a cell for each column.
    package mutating func add(_ cells: [String]) {
        precondition(cells.count == columns.count)
        rows.append(cells)
    }

    /// Whether there is no row yet.
    package var isEmpty: Bool { rows.isEmpty }

    /// The lines, headings first, without spaces at their ends.
    package var lines: [String] {
        let all = [columns.map(\.title)] + rows
        let widths = columns.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { cells in
            var line = ""
            for (index, cell) in cells.enumerated() {
                let padding = String(repeating: " ", count: widths[index] - cell.count)
                if index > 0 { line += "  " }
                line += columns[index].isRight ? padding + cell : cell + padding
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}
