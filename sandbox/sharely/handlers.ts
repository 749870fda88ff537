import { backgroundJobs } from './background-jobs.ts';
import type { SharelyRoute } from './faults.ts';
import {
  changeRoles,
  createKnowledge,
  deleteKnowledge,
  deleteWithChildren,
  getKnowledge,
  getUploadMetadata,
  listKnowledge,
  rolesOfKnowledge,
} from './knowledge.ts';
import type { Handler } from './parts.ts';
import { createRole, deleteRole, getRole, getRoleByCustomerId, listRoles, updateRole, upsertRole } from './roles.ts';
import { changeTaxonomyRoles, createTaxonomy, listTaxonomies, publishTaxonomy } from './taxonomies.ts';
import { uploadKnowledge } from './upload.ts';
import { getWorkspace, putRbacStatus } from './workspace.ts';

/** Who answers which route below /v1. */
export function handlersWith(
  setRbacStatus: (rbacStatus: 'ACTIVE' | 'INACTIVE') => void,
): Readonly<Record<Exclude<SharelyRoute, 'token'>, Handler>> {
  return {
    'role-create': createRole,
    'role-update': updateRole,
    'role-upsert': upsertRole,
    'role-delete': deleteRole,
    'roles-assign': changeRoles,
    'roles-unassign': changeRoles,
    'knowledge-delete': deleteKnowledge,
    'children-delete': deleteWithChildren,
    'knowledge-upload': uploadKnowledge,
    'knowledge-create': createKnowledge,
    'taxonomy-publish': publishTaxonomy,
    'background-jobs': backgroundJobs,
    'role-get': getRole,
    'role-by-customer': getRoleByCustomerId,
    'role-list': listRoles,
    'knowledge-list': listKnowledge,
    'knowledge-get': getKnowledge,
    'roles-of-knowledge': rolesOfKnowledge,
    'upload-metadata': getUploadMetadata,
    'taxonomy-list': listTaxonomies,
    'taxonomy-create': createTaxonomy,
    'taxonomy-roles': changeTaxonomyRoles,
    'workspace-get': getWorkspace,
    'rbac-status': putRbacStatus(setRbacStatus),
  };
}
