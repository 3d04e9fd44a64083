// Parses and binds queries by Kusto's own language service against the tables of Application Insights.
//
//   node bind.cjs FOLDER < queries.json     FOLDER: where the package is installed; queries: {NAME: TEXT}
//
// Prints {NAME: {problems: [TEXT], columns: [NAME]}}. The package comes from C# by Bridge.NET, which numbers the overloads of a
// constructor; the right one is the one that gives what was asked for.
const fs = require('fs');
const { createRequire } = require('module');
const load = createRequire(process.argv[2] + '/');
load('@kusto/language-service-next/bridge.js');
load('@kusto/language-service-next/Kusto.Language.Bridge.js');
const { KustoCode, GlobalState, Symbols } = Kusto.Language;

const common =
  'timestamp:datetime,message:string,severityLevel:int,itemType:string,customDimensions:dynamic,customMeasurements:dynamic,' +
  'operation_Name:string,operation_Id:string,operation_ParentId:string,cloud_RoleName:string,cloud_RoleInstance:string,appId:string,' +
  'appName:string,itemCount:int,_ResourceId:string';
const requests = common + ',id:string,source:string,name:string,url:string,success:string,resultCode:string,duration:real,performanceBucket:string';

function made(what, argumentLists, fits) {
  for (const name of Object.getOwnPropertyNames(what).filter((name) => /ctor/.test(name))) {
    for (const list of argumentLists) {
      try {
        const one = new what[name](...list);
        if (fits(one)) return one;
      } catch {} // another overload
    }
  }
  throw new Error('the language service has no constructor that fits');
}

const table = (name, columns) =>
  made(Symbols.TableSymbol, [[name, '(' + columns + ')', null]], (one) => one.Columns && one.Columns.Count === columns.split(',').length);
const tables = [table('traces', common), table('requests', requests)];
const database = made(Symbols.DatabaseSymbol, [['db', tables, false], ['db', null, tables, false]], (one) => one.Tables && one.Tables.Count === tables.length);
const globals = GlobalState.Default.WithDatabase(database);

const items = (list) => Array.from({ length: list.Count }, (_, at) => list.getItem(at));
const answers = {};
for (const [name, text] of Object.entries(JSON.parse(fs.readFileSync(0, 'utf8')))) {
  const code = KustoCode.ParseAndAnalyze(text, globals);
  const problems = items(code.GetDiagnostics()).map((one) => `${one.Code} ${one.Message} at \`${text.slice(one.Start, one.Start + 30)}\``);
  const result = code.ResultType;
  answers[name] = { problems, columns: result && result.Columns ? items(result.Columns).map((column) => column.Name) : [] };
}
console.log(JSON.stringify(answers));
