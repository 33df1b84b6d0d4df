// Prints the rows of a query, one a line: NODE_PATH=node_modules node duckdb.js SQL
const { DuckDBInstance } = require('@duckdb/node-api');

(async () => {
	const connection = await (await DuckDBInstance.create(':memory:')).connect();
	const reader = await connection.runAndReadAll(process.argv[2]);
	for (const row of reader.getRowsJson()) {
		console.log(row[0]);
	}
})();
