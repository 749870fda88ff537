/** The parts of JSON Schema that input schemas use. */
export interface JsonSchema {
  type?: string | string[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  const?: unknown;
  enum?: unknown[];
  default?: unknown;
  description?: string;
}

interface Field {
  path: string;
  type: string;
  note: string;
}

export interface FieldGroup {
  title: string;
  fields: Field[];
}

/** An input's fields for people: those of every form first, then those that belong to one form only. */
export function describeFields(schema: JsonSchema): FieldGroup[] {
  const forms = schema.oneOf ?? schema.anyOf;
  if (forms === undefined) return [{ title: 'Input', fields: fieldsOf(schema, '') }];
  const all = forms.map((form) => fieldsOf(form, ''));
  const isCommon = (field: Field): boolean =>
    all.every((fields) => fields.some((other) => JSON.stringify(other) === JSON.stringify(field)));
  const own = forms.map((form, index) => ({
    title: `Input with ${titleOf(form)}`,
    fields: (all[index] ?? []).filter((field) => !isCommon(field)),
  }));
  const common = (all[0] ?? []).filter(isCommon);
  return [...own, ...(common.length === 0 ? [] : [{ title: 'Input of every kind', fields: common }])];
}

/** A form is told from others by what is fixed in it. */
function titleOf(form: JsonSchema): string {
  const fixed = Object.entries(form.properties ?? {}).filter(([, field]) => field.const !== undefined);
  return fixed.map(([name, field]) => `${name} ${JSON.stringify(field.const)}`).join(', ') || 'another form';
}

function fieldsOf(schema: JsonSchema, base: string): Field[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const path = base === '' ? name : `${base}.${name}`;
    const isRequired = schema.required?.includes(name) === true;
    const notes = [
      isRequired ? 'required' : undefined,
      field.default === undefined ? undefined : `default ${JSON.stringify(field.default)}`,
    ].filter((note) => note !== undefined);
    const note = [notes.length === 0 ? '' : `(${notes.join(', ')})`, field.description ?? ''];
    const own = { path, type: typeOf(field), note: note.filter((part) => part !== '').join(' ') };
    return [own, ...fieldsOf(field, path)];
  });
}

function typeOf(schema: JsonSchema): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined) return [...new Set(choices.map(typeOf))].join(' | ');
  if (schema.type === 'array') {
    const item = schema.items === undefined ? 'any' : typeOf(schema.items);
    return item.includes(' ') ? `(${item})[]` : `${item}[]`;
  }
  return [schema.type ?? 'any'].flat().join(' | ');
}
